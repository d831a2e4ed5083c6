import json
import warnings

import pytest
from seqeval.metrics import classification_report

from pipelines.report.entities import Score, entity_report

GOLD = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "I-ORG"]]
FOUND = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "B-ORG", "O"]]


def test_an_entity_counts_only_with_its_type_and_both_ends() -> None:
    report = entity_report(GOLD, FOUND)
    assert report.types == {
        "LOC": Score(precision=0.0, recall=0.0, f1=0.0, support=1, predicted=0, correct=0),
        "ORG": Score(precision=0.0, recall=0.0, f1=0.0, support=1, predicted=2, correct=0),
        "PER": Score(precision=1.0, recall=1.0, f1=1.0, support=1, predicted=1, correct=1),
    }
    assert report.micro == Score(precision=1 / 3, recall=1 / 3, f1=1 / 3, support=3, predicted=3, correct=1)


def test_the_confusion_matrix_counts_tokens_by_type_with_outside_last() -> None:
    report = entity_report(GOLD, FOUND)
    assert report.names == ("LOC", "ORG", "PER", "O")
    assert report.confusion == (
        (0, 1, 0, 0),
        (0, 1, 0, 1),
        (0, 0, 2, 0),
        (0, 0, 0, 2),
    )


def test_an_unopened_inside_tag_begins_an_entity_as_in_conlleval() -> None:
    assert entity_report([["B-PER", "O"]], [["I-PER", "O"]]).micro.f1 == 1.0


def test_tags_without_entities_score_zero_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = entity_report([["O", "O"]], [["O", "O"]])
    assert report.micro == Score(precision=0.0, recall=0.0, f1=0.0, support=0, predicted=0, correct=0)
    assert report.types == {}
    assert report.confusion == ((2,),)


def test_the_scores_are_seqevals() -> None:
    tags = ["O", "B-A", "I-A", "B-B", "I-B"]
    gold = [[tags[(i * i + k) % 5] for i in range(12)] for k in range(40)]
    found = [[tags[(i * i + k + (i + k) // 7) % 5] for i in range(12)] for k in range(40)]
    expected = classification_report(gold, found, output_dict=True)
    report = entity_report(gold, found)
    for name, score in [*report.types.items(), ("micro avg", report.micro)]:
        assert score.precision == pytest.approx(expected[name]["precision"], abs=1e-12)
        assert score.recall == pytest.approx(expected[name]["recall"], abs=1e-12)
        assert score.f1 == pytest.approx(expected[name]["f1-score"], abs=1e-12)
        assert score.support == expected[name]["support"]


def test_metric_names_hold_nothing_that_mlflow_refuses() -> None:
    report = entity_report([["B-work of art", "B-event/war", "B-Größe", "B-.."]], [["O"] * 4])
    assert [name for name in report.metrics("dev") if name.endswith("/f1")] == [
        "dev/f1",
        "dev/__/f1",
        "dev/Gr__e/f1",
        "dev/event_war/f1",
        "dev/work of art/f1",
    ]


def test_two_types_that_would_share_a_metric_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'a\+b' and 'a/b' would share the metric name 'a_b'"):
        entity_report([["B-a/b", "B-a+b"]], [["O", "O"]]).metrics("dev")


def test_the_table_is_aligned_and_ends_with_the_micro_average() -> None:
    assert entity_report(GOLD, FOUND).table().splitlines() == [
        "entity         precision  recall      F1  support",
        "LOC               0.0000  0.0000  0.0000        1",
        "ORG               0.0000  0.0000  0.0000        1",
        "PER               1.0000  1.0000  1.0000        1",
        "micro average     0.3333  0.3333  0.3333        3",
    ]


def test_the_report_survives_json() -> None:
    found = json.loads(json.dumps(entity_report(GOLD, FOUND).to_json()))
    assert found["confusion"] == {
        "names": ["LOC", "ORG", "PER", "O"],
        "matrix": [[0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 2, 0], [0, 0, 0, 2]],
    }
    assert found["types"]["ORG"] == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "support": 1,
        "predicted": 2,
        "correct": 0,
    }


@pytest.mark.parametrize(
    ("gold", "found", "message"),
    [
        ([["O"]], [], "1 rows of gold tags but 0 of predicted"),
        ([["O"], ["O", "O"]], [["O"], ["O"]], "Row 1 has 2 gold tags but 1 predicted"),
        ([["PER"]], [["O"]], "'PER' is not an IOB2 tag"),
        ([["O"]], [["B-"]], "'B-' is not an IOB2 tag"),
        ([["B-O"]], [["O"]], "'B-O' names its type 'O'"),
    ],
)
def test_tags_that_cannot_be_compared_are_refused(gold: list[list[str]], found: list[list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entity_report(gold, found)
