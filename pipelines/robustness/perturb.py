"""The perturbations: changes after which a person would answer the same. A new one is a function, and a line below."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from pipelines.data.iob import OUTSIDE
from pipelines.errors import UserError
from pipelines.report.entities import entities_in
from pipelines.robustness.letters import HOMOGLYPHS, NEIGHBOURS
from pipelines.robustness.sentence import INSIDE, Sentence, Word, gap

Change = Callable[[Sentence, Random, float], Sentence]
"""Changes a share of what can be changed in a sentence, at least one place where there is one."""
SIGNS = (",", ".", ";", "!", "-")
SPACES = ("  ", "\t", "\u00a0", "\n")
"""White space that says no more than one space does."""


@dataclass(frozen=True, slots=True)
class Perturbation:
    name: str
    what: str
    """For a person to read."""
    rate: float
    """The share of what can be changed that is changed."""
    change: Change

    def of(self, sentences: Sequence[Sentence], *, row: int, seed: int) -> tuple[Sentence, ...]:
        """The texts of a row, changed: the same for the same seed, whatever else is perturbed."""
        draw = Random(f"{seed} {self.name} {row}")
        return tuple(self.change(sentence, draw, self.rate) for sentence in sentences)


def perturbations(
    rates: Mapping[str, float], only: Sequence[str] = (), entities: Mapping[str, Sequence[Sequence[str]]] | None = None
) -> list[Perturbation]:
    """Those that are asked for, in their usual order.

    Args:
        rates: by name, where they are not the usual ones; from 0, which leaves one out, to 1.
        only: names; all when empty.
        entities: by type, the words of each; None where texts have none.

    Raises:
        UserError: a name that is none, or a rate that is no share.
    """
    known = [*USUAL, *([] if entities is None else [_entities(entities)])]
    names = [one.name for one in known]
    for name in (*only, *rates):
        if name not in names:
            raise UserError(f"There is no perturbation {name!r} of this task; known: {', '.join(names)}.")
    for name, rate in rates.items():
        if not 0 <= rate <= 1:
            raise UserError(f"The rate of {name} is {rate:g}; a share from 0 to 1 is needed.")
    chosen = [replace(one, rate=rates.get(one.name, one.rate)) for one in known if not only or one.name in only]
    if not (found := [one for one in chosen if one.rate > 0]):
        raise UserError("Every perturbation is left out: give one of them a rate above 0.")
    return found


def _some(places: Sequence[int], draw: Random, rate: float) -> list[int]:
    count = min(len(places), max(1, round(rate * len(places))))
    return sorted(draw.sample(list(places), count))


def _words(can: Callable[[str], bool], change: Callable[[str, Random], str]) -> Change:
    """Changes the texts of some words, all others stay."""

    def changed(sentence: Sentence, draw: Random, rate: float) -> Sentence:
        for i in _some([i for i, word in enumerate(sentence.words) if can(word.text)], draw, rate):
            sentence = sentence.with_word(i, change(sentence.words[i].text, draw))
        return sentence

    return changed


def _letter(among: Mapping[str, str]) -> Change:
    """Puts another character in the place of one."""

    def change(word: str, draw: Random) -> str:
        i = draw.choice([i for i, letter in enumerate(word) if letter in among or letter.lower() in among])
        instead = draw.choice(among.get(word[i], among.get(word[i].lower(), "")))
        return word[:i] + (instead.upper() if word[i].isupper() else instead) + word[i + 1 :]

    return _words(lambda word: any(letter in among or letter.lower() in among for letter in word), change)


def _swaps(word: str) -> list[int]:
    """Where two unlike letters stand side by side behind the first."""
    return [i for i in range(1, len(word) - 1) if word[i : i + 2].isalpha() and word[i] != word[i + 1]]


def _swapped(word: str, draw: Random) -> str:
    i = draw.choice(_swaps(word))
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def _other_case(word: str, draw: Random) -> str:  # noqa: ARG001
    return word.lower() if word != word.lower() else word.upper()


def _other_digit(word: str, draw: Random) -> str:
    i = draw.choice([i for i, letter in enumerate(word) if letter in "0123456789"])
    return word[:i] + draw.choice("0123456789".replace(word[i], "")) + word[i + 1 :]


def _is_sign(word: Word) -> bool:
    return word.text != "" and all(unicodedata.category(letter)[0] == "P" for letter in word.text)


def _dropped(can: Callable[[Word], bool]) -> Change:
    """Leaves words out, but none of an entity, whose label would go with it, and never the last one that is there."""

    def change(sentence: Sentence, draw: Random, rate: float) -> Sentence:
        places = [i for i, word in enumerate(sentence.words) if word.tag == OUTSIDE and can(word)]
        gone = set(_some(places, draw, rate)) if len(sentence.words) > 1 else set()
        kept = tuple(word for i, word in enumerate(sentence.words) if i not in gone)
        return replace(sentence, words=kept) if kept else sentence

    return change


def _signs_added(sentence: Sentence, draw: Random, rate: float) -> Sentence:
    """Behind words, but not inside of entities."""
    after = [*(word.tag for word in sentence.words[1:]), OUTSIDE]
    places = [i for i, word in enumerate(sentence.words) if not _is_sign(word) and not after[i].startswith("I-")]
    chosen, words = set(_some(places, draw, rate)), list[Word]()
    for i, word in enumerate(sentence.words):
        words += [replace(word, behind=""), Word(draw.choice(SIGNS), word.behind, None)] if i in chosen else [word]
    return replace(sentence, words=tuple(words))


def _spaced(sentence: Sentence, draw: Random, rate: float) -> Sentence:
    chosen = set(_some([i for i, word in enumerate(sentence.words[:-1]) if word.behind == " "], draw, rate))
    words = [
        replace(word, behind=draw.choice(SPACES)) if i in chosen else word for i, word in enumerate(sentence.words)
    ]
    return replace(sentence, words=tuple(words))


USUAL = (
    Perturbation("keyboard", "a letter becomes one beside it on the keyboard", 0.1, _letter(NEIGHBOURS)),
    Perturbation(
        "swapped", "two letters change places", 0.1, _words(lambda word: bool(_swaps(word)), _swapped)
    ),
    Perturbation(
        "case", "a word in the other case", 0.2, _words(lambda word: word.lower() != word.upper(), _other_case)
    ),
    Perturbation("homoglyphs", "a Latin letter becomes a Cyrillic one that looks the same", 0.1, _letter(HOMOGLYPHS)),
    Perturbation(
        "digits", "a digit becomes another", 0.5,
        _words(lambda word: any(letter in "0123456789" for letter in word), _other_digit),
    ),
    Perturbation("signs-dropped", "a punctuation mark is left out", 0.5, _dropped(_is_sign)),
    Perturbation("signs-added", "a punctuation mark too many", 0.1, _signs_added),
    Perturbation("spaces", "other white space between two words", 0.2, _spaced),
    Perturbation("words-dropped", "a word is left out", 0.1, _dropped(lambda word: not _is_sign(word))),
)  # fmt: skip
"""Those of every text; what they change in an entity carries its label along."""


def _entities(pool: Mapping[str, Sequence[Sequence[str]]]) -> Perturbation:
    """Another entity of the same type in the place of one; of a type with one entity there is no other."""
    return Perturbation("entities", "another name of the same type", 1.0, _exchanged(pool))


def _exchanged(pool: Mapping[str, Sequence[Sequence[str]]]) -> Change:
    names = {kind: [tuple(one) for one in known if _is_name(one)] for kind, known in pool.items()}

    def change(sentence: Sentence, draw: Random, rate: float) -> Sentence:
        words = sentence.words
        spans = sorted(
            (first, last, kind)
            for kind, first, last in entities_in(sentence.tags)
            if len(names.get(kind, ())) > 1 and _is_name([word.text for word in words[first : last + 1]])
        )
        # From the end, so that the places before stay what they are.
        for i in reversed(_some(range(len(spans)), draw, rate)):
            first, last, kind = spans[i]
            there = tuple(word.text for word in words[first : last + 1])
            new = draw.choice([one for one in names[kind] if one != there])
            gaps = [*(gap(a, b) for a, b in pairwise(new)), words[last].behind]
            begin, end = words[first].stands_for, words[last].stands_for
            assert begin is not None
            assert end is not None
            made = [
                Word(
                    text,
                    behind,
                    (begin[0] if n == 0 else INSIDE, end[1] if n == len(new) - 1 else INSIDE),
                    f"{'I' if n else 'B'}-{kind}",
                )
                for n, (text, behind) in enumerate(zip(new, gaps, strict=True))
            ]
            words = (*words[:first], *made, *words[last + 1 :])
        return replace(sentence, words=words)

    return change


def _is_name(words: Sequence[str]) -> bool:
    """Some data sets label the @ of a handle by itself."""
    return any(letter.isalnum() for word in words for letter in word)
