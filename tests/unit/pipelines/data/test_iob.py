import pytest

from pipelines.data.iob import is_tag, opening_insides, repair, spans_to_iob


@pytest.mark.parametrize("tag", ["O", "B-PER", "I-creative-work", "B-组织", "B-two words"])
def test_iob2_tags_are_known(tag: str) -> None:
    assert is_tag(tag)


@pytest.mark.parametrize("tag", ["", "o", "B-", "I-", "B", "S-PER", "E-PER", "PER", "B_PER", "b-PER", "B- PER", "_"])
def test_anything_else_is_no_tag(tag: str) -> None:
    assert not is_tag(tag)


def test_an_inside_opens_an_entity_unless_it_follows_its_own_type() -> None:
    assert opening_insides(["I-PER", "I-PER", "O", "I-LOC", "B-ORG", "I-ORG", "I-PER"]) == [0, 3, 6]


def test_right_tags_have_no_opening_inside() -> None:
    assert opening_insides(["B-PER", "I-PER", "B-PER", "O", "B-LOC", "I-LOC"]) == []


def test_repair_turns_only_the_opening_inside_into_a_beginning() -> None:
    assert repair(["I-PER", "I-PER", "O", "B-ORG", "I-PER"]) == (("B-PER", "I-PER", "O", "B-ORG", "B-PER"), 2)


def test_a_run_of_equal_labels_is_one_entity() -> None:
    assert spans_to_iob(["Street", "Street", "O", "O", "Street", "City"]) == (
        "B-Street",
        "I-Street",
        "O",
        "O",
        "B-Street",
        "B-City",
    )


def test_no_labels_give_no_tags() -> None:
    assert spans_to_iob([]) == ()
