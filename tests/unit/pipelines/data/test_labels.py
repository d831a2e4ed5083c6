import pytest

from pipelines.data.examples import Table
from pipelines.data.labels import check_labels, label_list
from pipelines.errors import UserError


def table(*labels: str) -> Table:
    return Table([], labels=frozenset(labels))


def test_labels_are_sorted_by_type_and_complete() -> None:
    train = table("I-PER", "B-LOC", "O", "B-creative-work", "I-creative-work")
    assert label_list({"train": train}) == [
        "O",
        "B-LOC",
        "I-LOC",
        "B-PER",
        "I-PER",
        "B-creative-work",
        "I-creative-work",
    ]


def test_train_without_outside_words_has_no_outside_label() -> None:
    assert label_list({"train": table("B-Street")}) == ["B-Street", "I-Street"]


def test_the_other_splits_add_no_labels() -> None:
    assert label_list({"train": table("O", "B-A"), "dev": table("B-B")}) == ["O", "B-A", "I-A"]


def test_an_inside_of_a_known_type_is_known() -> None:
    check_labels({"train": table("O", "B-A"), "dev": table("O", "B-A", "I-A"), "test": table("O")})


def test_a_label_that_train_lacks_is_an_error_that_names_it_and_its_split() -> None:
    message = r"The test split holds labels that train lacks: B-B, O \(train has B-A, I-A\)\. Add sentences"
    with pytest.raises(UserError, match=message):
        check_labels({"train": table("B-A"), "dev": table("B-A"), "test": table("O", "B-B")})
