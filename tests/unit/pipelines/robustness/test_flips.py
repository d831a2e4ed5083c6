"""When an answer has flipped, and what is made of all of them: with predictors written by hand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.data.examples import LabelledText, TaggedSentence
from pipelines.inference.class_predictor import Label, Labels, TextOrPair
from pipelines.inference.entities import Entity
from pipelines.inference.entity_predictor import Entities
from pipelines.inference.predictor import Text
from pipelines.robustness.entities import TaggedSubject, tags_of
from pipelines.robustness.flips import Robustness, measure
from pipelines.robustness.labels import OneLabelSubject, SeveralLabelsSubject
from pipelines.robustness.page import marked, page
from pipelines.robustness.perturb import perturbations
from pipelines.robustness.sentence import tagged_sentence
from pipelines.robustness.show import lines
from pipelines.robustness.subject import Subject

HOSTILE = "<script>document.title='changed'</script>"
NAMED = {"model": "m", "data": "d", "split": "test"}
TAGGED_ROWS = [
    TaggedSentence(("Ada", "Lovelace", "is", "in", "Berlin", "."), ("B-PER", "I-PER", "O", "O", "B-LOC", "O")),
    TaggedSentence(("Oslo", "and", "Rome", "are", "far", "."), ("B-LOC", "O", "B-LOC", "O", "O", "O")),
    TaggedSentence(("nothing", "here"), ("O", "O")),
]
KNOWN = {"Ada Lovelace": "PER", "Berlin": "LOC", "Oslo": "LOC", "Rome": "LOC"}


def look_up(inputs: Sequence[Text]) -> list[Entities]:
    """Knows four names, as they are written."""
    return [
        Entities(
            sorted(
                (
                    Entity(kind, found.start(), found.end(), name, 0.9)
                    for name, kind in KNOWN.items()
                    for found in re.finditer(re.escape(name), one.text)
                ),
                key=lambda entity: entity.start,
            )
        )
        for one in inputs
    ]


def by_first_letter(inputs: Sequence[TextOrPair]) -> list[Label]:
    said = ["yes" if (one.pair or one.text)[:1] == "y" else "no" for one in inputs]
    return [Label(label, 0.75, {"no": 0.75 if label == "no" else 0.25, "yes": 0.75 if label == "yes" else 0.25})
            for label in said]  # fmt: skip


def by_letters(inputs: Sequence[TextOrPair]) -> list[Labels]:
    found = [{label: 0.9 if label in one.text else 0.1 for label in "xyz"} for one in inputs]
    return [Labels([label for label, score in one.items() if score > 0.5], one) for one in found]


def measured(
    subject: Subject, rows: Sequence[Any], ask: Any, only: str, *, rate: float = 1.0, examples: bool = False
) -> Robustness:
    pool = subject.entities([subject.sentences(row) for row in rows])
    chosen = perturbations({only: rate}, [only], pool)
    return measure(subject, rows, chosen, ask, seed=0, examples=examples, task="t", **NAMED)


def test_entities_are_the_same_if_they_stand_for_the_same_words_however_these_are_written() -> None:
    # It finds the names whatever signs and spaces stand between the words around them.
    for only in ("signs-dropped", "signs-added", "words-dropped"):
        [found] = measured(TaggedSubject(), TAGGED_ROWS, look_up, only).flips
        assert (found.flipped, found.said, found.score) == (0, 4, 1.0), only


def test_an_entity_that_is_lost_flips_and_costs_its_type() -> None:
    robustness = measured(TaggedSubject(), TAGGED_ROWS, look_up, "case")
    [found] = robustness.flips
    assert (robustness.score_name, robustness.score) == ("F1", 1.0)
    assert (found.rows, found.flipped, found.said, found.score) == (3, 4, 4, 0.0)
    assert found.share is not None
    assert (found.share.score, found.share.low, found.share.high) == (1.0, 0.0, 1.0)
    assert {label: (one.flipped, one.said, one.before, one.after) for label, one in found.labels.items()} == {
        "LOC": (3, 3, 1.0, 0.0),
        "PER": (1, 1, 1.0, 0.0),
    }


def test_a_name_that_was_exchanged_is_the_same_entity_if_it_is_found_whole() -> None:
    rows = [*TAGGED_ROWS, TaggedSentence(("Bo", "sings"), ("B-PER", "O"))]
    [found] = measured(TaggedSubject(), rows, look_up, "entities").flips
    # Ada Lovelace becomes Bo, whom nobody knows, and Bo becomes Ada Lovelace: one lost, one new. Cities stay cities.
    assert {label: (one.flipped, one.said) for label, one in found.labels.items()} == {"LOC": (0, 3), "PER": (2, 2)}
    assert found.score == pytest.approx(8 / 9)


def test_a_word_is_in_an_entity_if_a_part_of_it_is() -> None:
    sentence = tagged_sentence(("@ada", "and", "U.S.", "ships"), ("O",) * 4)
    said = Entities([Entity("PER", 1, 4, "ada", 1.0), Entity("LOC", 9, 19, "U.S. ships", 1.0)])
    assert tags_of(said, sentence) == ["B-PER", "O", "B-LOC", "I-LOC"]


def test_an_input_flips_with_its_label_and_a_pair_is_perturbed_in_both_texts() -> None:
    rows = [LabelledText("yes, it is", None, ("yes",)), LabelledText("no", None, ("no",))]
    robustness = measured(OneLabelSubject(), rows, by_first_letter, "case")
    [found] = robustness.flips
    assert (robustness.score, found.score, found.flipped, found.said) == (1.0, 0.5, 1, 2)
    assert {label: (one.flipped, one.said) for label, one in found.labels.items()} == {"yes": (1, 1), "no": (0, 1)}
    pairs = [LabelledText("a", "yes", ("yes",))]
    asked: list[TextOrPair] = []

    def ask(inputs: Sequence[TextOrPair]) -> list[Label]:
        asked.extend(inputs)
        return by_first_letter(inputs)

    measured(OneLabelSubject(), pairs, ask, "case")
    assert asked == [TextOrPair("a", "yes"), TextOrPair("A", "YES")]


def test_of_several_labels_an_input_flips_once_and_each_label_by_itself() -> None:
    rows = [LabelledText("xy", None, ("x", "y")), LabelledText("y Z", None, ("y",))]
    [found] = measured(SeveralLabelsSubject(), rows, by_letters, "case").flips
    assert (found.flipped, found.said) == (2, 2)
    assert {label: (one.flipped, one.said) for label, one in found.labels.items()} == {
        "x": (1, 1), "y": (2, 2), "z": (1, 1)
    }  # fmt: skip


def test_rows_that_are_not_changed_count_in_the_score_and_not_among_the_flips() -> None:
    rows = [LabelledText("yes", None, ("yes",)), LabelledText("7", None, ("no",))]
    [found] = measured(OneLabelSubject(), rows, by_first_letter, "case").flips
    assert (found.rows, found.flipped, found.said, found.score) == (1, 1, 1, 0.5)
    [nothing] = measured(OneLabelSubject(), rows[:1], by_first_letter, "digits").flips
    assert (nothing.rows, nothing.share, nothing.score) == (0, None, 1.0)


def test_texts_are_in_the_report_only_if_they_were_asked_for() -> None:
    plain, kept = (measured(TaggedSubject(), TAGGED_ROWS, look_up, "case", examples=kept) for kept in (False, True))
    for shown in (json.dumps(plain.to_json()), page(plain), "\n".join(lines(plain)), "\n".join(lines(kept))):
        assert not re.search("Lovelace|Oslo|nothing here", shown, re.IGNORECASE)
    [found] = kept.flips
    assert [(one.row, one.changed, one.before, one.after) for one in found.examples] == [
        (1, "ada lovelace IS IN berlin .", "Ada Lovelace (PER), Berlin (LOC)", "nothing"),
        (2, "oslo AND rome ARE FAR .", "Oslo (LOC), Rome (LOC)", "nothing"),
    ]
    assert "lovelace" in page(kept)


def test_too_many_flips_are_named() -> None:
    robustness = measured(TaggedSubject(), TAGGED_ROWS, look_up, "case")
    assert [one.name for one in robustness.above(0.99)] == ["case"]
    assert robustness.above(1.0) == []


def test_the_changed_pieces_of_a_text_are_marked() -> None:
    assert marked("a small cat", "a smlal cat!") == [("a ", False), ("smlal", True), (" cat", False), ("!", True)]
    assert marked("one, two", "one two") == [("one", False), ("\u2038", True), (" two", False)]


def shown() -> Robustness:
    rows = [LabelledText(f"{'yes' if i % 2 else 'no'} {i} {HOSTILE}", None, ("yes" if i % 2 else "no",))
            for i in range(40)]  # fmt: skip
    chosen = perturbations({}, ())
    return measure(
        OneLabelSubject(), rows, chosen, by_first_letter, seed=0, examples=True, task="sequence-classification",
        **NAMED,
    )  # fmt: skip


def test_the_page_stands_alone_and_repeats_no_markup_of_the_data() -> None:
    html = page(shown())
    assert HOSTILE not in html
    assert "&lt;" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium here")
@pytest.mark.timeout(120)
def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    path, shot = tmp_path / "page.html", tmp_path / "shot.png"
    found = shown()
    path.write_text(page(found), encoding="utf-8")
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*browser, f"--screenshot={shot}", "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert "<title>m under perturbations of d</title>" in done.stdout
    assert done.stdout.count("<img") == 2
    examples = sum(len(one.examples) for one in found.flips)
    tables = 1 + sum(bool(one.examples) for one in found.flips)
    assert done.stdout.count("<tr>") == len(found.flips) + examples + tables
    assert "<mark>" in done.stdout
    if shot.exists():
        assert shot.stat().st_size > 10_000
