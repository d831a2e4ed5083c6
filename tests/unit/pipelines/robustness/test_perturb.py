"""What each perturbation does to a text, and what becomes of its labels."""

from __future__ import annotations

from random import Random

import pytest

from pipelines.errors import UserError
from pipelines.robustness.letters import HOMOGLYPHS, NEIGHBOURS
from pipelines.robustness.perturb import USUAL, Perturbation, perturbations
from pipelines.robustness.sentence import INSIDE, Sentence, Word, sentence_of, tagged_sentence

TEXT = '  Please call Ann-Marie at 5 p.m.,\n she "waits" in room 12!  '
WORDS = ("Ada", "Lovelace", "moved", "to", "Berlin", ",", "then", "!")
TAGS = ("B-PER", "I-PER", "O", "O", "B-LOC", "O", "O", "O")
POOL = {"PER": [["Ada", "Lovelace"], ["Bo"], ["Jan", "van", "Eyck"]], "LOC": [["Berlin"]]}


def named(name: str) -> Perturbation:
    [one] = [one for one in perturbations({}, entities=POOL) if one.name == name]
    return one


def changed(name: str, sentence: Sentence, *, rate: float = 1.0, seed: int = 0) -> Sentence:
    return named(name).change(sentence, Random(seed), rate)


def test_a_text_is_its_words_to_the_character() -> None:
    for text in (TEXT, "", "   ", "a", "北京 is a city", "😀!?\n"):
        sentence = sentence_of(text)
        assert sentence.text == text
        assert [text[start:end] for start, end in sentence.places()] == [word.text for word in sentence.words]


def test_tagged_words_get_a_space_where_people_write_one() -> None:
    words = ("我", "住", "在", "New", "York", "和", "北", "京", "!")
    assert tagged_sentence(words, ["O"] * 9).text == "我住在New York和北京!"
    assert tagged_sentence(WORDS, TAGS).text == "Ada Lovelace moved to Berlin , then !"
    assert tagged_sentence((), ()) == Sentence(())


def test_neighbours_touch_each_other_and_look_alikes_are_other_letters() -> None:
    assert (sorted(NEIGHBOURS["g"]), sorted(NEIGHBOURS["q"])) == (sorted("fhtyvb"), sorted("wa"))
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)
    assert all(not other.isascii() and letter.isascii() for letter, other in HOMOGLYPHS.items())


@pytest.mark.parametrize("one", USUAL, ids=lambda one: one.name)
def test_the_same_seed_makes_the_same_text_whatever_else_is_perturbed(one: Perturbation) -> None:
    sentences = (sentence_of(TEXT), tagged_sentence(WORDS, TAGS))
    made = [one.of(sentences, row=3, seed=5) for _ in range(2)]
    assert made[0] == made[1]
    assert len({tuple(s.text for s in one.of(sentences, row=row, seed=5)) for row in range(30)}) > 1


@pytest.mark.parametrize("one", USUAL, ids=lambda one: one.name)
@pytest.mark.parametrize("text", ["", " ", "!", "a", "7", "北京", "a b", "\ud83d"])
def test_the_shortest_texts_can_be_perturbed(one: Perturbation, text: str) -> None:
    for rate in (0.01, 1.0):
        assert isinstance(one.change(sentence_of(text), Random(0), rate).text, str)


@pytest.mark.parametrize("one", USUAL, ids=lambda one: one.name)
def test_entities_keep_their_words_and_tags(one: Perturbation) -> None:
    for seed in range(20):
        sentence = one.change(tagged_sentence(WORDS, TAGS), Random(seed), 1.0)
        inside = [word for word in sentence.words if word.tag != "O"]
        assert [(word.tag, word.stands_for) for word in inside] == [
            ("B-PER", (0, 0)), ("I-PER", (1, 1)), ("B-LOC", (4, 4))
        ]  # fmt: skip
        tags = sentence.tags
        assert tags.index("I-PER") == tags.index("B-PER") + 1


def test_a_share_of_the_words_is_changed_and_one_at_least() -> None:
    sentence = sentence_of(" ".join(["word"] * 20))
    for rate, count in ((0.1, 2), (0.5, 10), (1.0, 20), (0.001, 1)):
        words = changed("keyboard", sentence, rate=rate).words
        assert sum(word.text != "word" for word in words) == count


def test_letters_are_exchanged_in_their_case() -> None:
    [typo] = changed("keyboard", sentence_of("Q")).words
    assert typo.text in ("W", "A")
    assert changed("homoglyphs", sentence_of("p")).text == "\u0440"
    assert changed("homoglyphs", sentence_of("T")).text == "\u0422"
    assert changed("swapped", sentence_of("abc")).text == "acb"
    assert changed("swapped", sentence_of("add of to")).text == "add of to"
    assert changed("case", sentence_of("Ada went 7 OSLO")).text == "ada WENT 7 oslo"
    digit = changed("digits", sentence_of("a7b")).text
    assert digit != "a7b"
    assert (digit[0], digit[1].isdigit(), digit[2]) == ("a", True, "b")


def test_words_and_signs_are_dropped_but_none_of_an_entity_and_never_all() -> None:
    sentence = tagged_sentence(WORDS, TAGS)
    assert changed("signs-dropped", sentence).text == "Ada Lovelace moved to Berlin then "
    assert changed("words-dropped", sentence).text == "Ada Lovelace Berlin , !"
    assert changed("words-dropped", sentence_of("all of it")).text == "all of it"


def test_signs_are_added_behind_words_and_not_inside_entities() -> None:
    sentence = changed("signs-added", tagged_sentence(WORDS, TAGS))
    added = [i for i, word in enumerate(sentence.words) if word.stands_for is None]
    assert [sentence.words[i - 1].text for i in added] == ["Lovelace", "moved", "to", "Berlin", "then"]
    assert all(sentence.words[i - 1].behind == "" and sentence.words[i].tag == "O" for i in added)


def test_white_space_says_no_less() -> None:
    sentence = changed("spaces", sentence_of("one two  three"))
    assert sentence.text.split() == ["one", "two", "three"]
    assert sentence.text != "one two  three"


def test_an_entity_is_exchanged_for_another_of_its_type_with_its_tags() -> None:
    made = {changed("entities", tagged_sentence(WORDS, TAGS), seed=seed) for seed in range(20)}
    assert {one.text for one in made} == {
        "Bo moved to Berlin , then !",
        "Jan van Eyck moved to Berlin , then !",
    }
    by_text = {one.text[:3]: one.words[:3] for one in made}
    assert by_text["Bo "][0] == Word("Bo", " ", (0, 1), "B-PER")
    assert [(word.tag, word.stands_for) for word in by_text["Jan"]] == [
        ("B-PER", (0, INSIDE)), ("I-PER", (INSIDE, INSIDE)), ("I-PER", (INSIDE, 1))
    ]  # fmt: skip


def test_the_at_sign_of_a_handle_is_no_name() -> None:
    pool = {"PER": [["@"], ["Bo"], ["Al"]]}
    [exchange] = perturbations({}, ["entities"], pool)
    sentence = tagged_sentence(("@", "Bo", "!"), ("B-PER", "B-PER", "O"))
    assert {exchange.change(sentence, Random(seed), 1.0).text for seed in range(20)} == {"@ Al !"}


def test_what_is_asked_for_is_done_at_the_rate_that_is_asked_for() -> None:
    assert [one.name for one in perturbations({"case": 0.0})] == [one.name for one in USUAL if one.name != "case"]
    assert [(one.name, one.rate) for one in perturbations({"case": 0.7}, ["case"])] == [("case", 0.7)]


@pytest.mark.parametrize(
    ("rates", "only", "words"),
    [
        ({"typos": 0.5}, [], "There is no perturbation 'typos' of this task; known: keyboard, swapped,"),
        ({}, ["entities"], "There is no perturbation 'entities' of this task"),
        ({"case": 1.5}, [], "The rate of case is 1.5; a share from 0 to 1 is needed"),
        ({"case": float("nan")}, [], "The rate of case is nan"),
        ({"case": 0}, ["case"], "Every perturbation is left out"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(rates: dict[str, float], only: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        perturbations(rates, only)
