import pytest

from pipelines.data.labels import check_labels, tag_list
from pipelines.errors import UserError


def tags(*labels: str) -> frozenset[str]:
    return frozenset(labels)


def test_labels_are_sorted_by_type_and_complete() -> None:
    train = tags("I-PER", "B-LOC", "O", "B-creative-work", "I-creative-work")
    assert tag_list({"train": train}) == [
        "O",
        "B-LOC",
        "I-LOC",
        "B-PER",
        "I-PER",
        "B-creative-work",
        "I-creative-work",
    ]


def test_train_without_outside_words_has_no_outside_label() -> None:
    assert tag_list({"train": tags("B-Street")}) == ["B-Street", "I-Street"]


def test_the_other_splits_add_no_labels() -> None:
    assert tag_list({"train": tags("O", "B-A"), "dev": tags("B-B")}) == ["O", "B-A", "I-A"]


def test_an_inside_of_a_known_type_is_known() -> None:
    splits = {"train": tags("O", "B-A"), "dev": tags("O", "B-A", "I-A"), "test": tags("O")}
    check_labels(splits, tag_list(splits))


def test_a_label_that_train_lacks_is_an_error_that_names_it_and_its_split() -> None:
    message = r"The test split holds labels that train lacks: B-B, O \(train has B-A, I-A\)\. Add examples"
    splits = {"train": tags("B-A"), "dev": tags("B-A"), "test": tags("O", "B-B")}
    with pytest.raises(UserError, match=message):
        check_labels(splits, tag_list(splits))
