import json
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from pipelines.report.texts import text_report, words_of
from pipelines.report.tokens import TokenReport

TOKENS = TokenReport(accuracy=0.5, loss=1.0, perplexity=2.7, targets=9)
TRUE = ["the cat sat on the mat today .", "it rains"]


def test_what_is_written_as_it_ought_to_be_has_full_marks(tmp_path: Path) -> None:
    report = text_report(TOKENS, TRUE, TRUE)
    assert (report.bleu, report.chrf, report.rouge_l) == pytest.approx((100, 100, 1))
    assert (report.score, report.score_name, report.texts) == (0.5, "token accuracy", 2)
    assert set(report.metrics("test")) >= {"test/bleu", "test/chrf", "test/rouge_l", "test/perplexity"}
    assert json.loads(json.dumps(report.to_json()))["tokenizer"] == "13a"
    assert "2 texts written" in report.table()
    report.draw(tmp_path)


def test_scores_are_those_of_the_packages_themselves() -> None:
    import sacrebleu

    said = ["the cat sat on a mat .", "rain, it's raining"]
    report = text_report(TOKENS, TRUE, said)
    assert report.bleu == pytest.approx(sacrebleu.corpus_bleu(said, [TRUE]).score)
    assert report.chrf == pytest.approx(sacrebleu.corpus_chrf(said, [TRUE]).score)
    rouge = RougeScorer(["rougeL"])
    shares = [rouge.score(a, b)["rougeL"].fmeasure for a, b in zip(TRUE, said, strict=True)]
    assert report.rouge_l == pytest.approx(sum(shares) / 2)


def test_texts_without_spaces_are_compared_by_their_characters() -> None:
    report = text_report(TOKENS, ["我喜欢吃苹果和香蕉。"], ["我喜欢吃苹果。"])
    assert report.tokenizer == "zh"
    assert report.rouge_l == pytest.approx(2 * 6 / (6 + 9))
    assert report.bleu > 0


@pytest.mark.parametrize(
    ("texts", "tokenizer"),
    [(["我在 Oslo"], "zh"), (["りんごを食べる"], "char"), (["Ann moved from Oslo to 東京"], "13a"), ([""], "13a")],
)
def test_the_script_of_the_texts_tells_how_they_are_taken_apart(texts: list[str], tokenizer: str) -> None:
    assert words_of(texts) == tokenizer


def test_texts_of_which_nothing_is_written_score_nothing() -> None:
    report = text_report(TOKENS, TRUE, ["", ""])
    assert (report.bleu, report.rouge_l) == (0, 0)
