"""Answers with their personal data masked, of whatever kind the predictor is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines.errors import UserError
from pipelines.inference.entities import Entity
from pipelines.inference.masking.finders import Rules, find
from pipelines.inference.masking.finding import Finding, merge
from pipelines.inference.masking.reading import TOGETHER
from pipelines.inference.masking.replacing import mask
from pipelines.inference.predictor import texts_in

Names = Callable[[str], Iterable[Entity]]
"""A model that tags a text's entities. Without one, names are masked only where an answer says itself that they are."""


class MaskOptions(BaseModel):
    """What a request may ask for besides `"mask": true`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    kinds: list[str] | None = Field(default=None, min_length=1)
    """The kinds of personal data to mask; all, when left out."""
    reversible: bool = False
    """Tokens that whoever has the endpoint's key for masked data can read."""


MaskAsked = bool | MaskOptions
"""The type of `mask` in a request."""


@dataclass(frozen=True, slots=True)
class Masks:
    """What one request wants masked, and how."""

    rules: Rules
    key: bytes | None = None
    """What makes tokens that can be read again; without one nobody can read them."""
    names: Names | None = None

    def output(self, output: Any, given: Any) -> Any:
        """The output, of the same type, with the personal data in all its strings masked.

        Args:
            given: the input; all its texts are read.
        """
        return self.beside(texts_in(given), output).of(output)

    def beside(self, texts: Iterable[str], output: Any = ()) -> Masking:
        """What masks whatever is said of these texts.

        Args:
            output: the model's, whose entities are looked at.
        """
        tagged = [one for one in _dataclasses(output) if isinstance(one, Entity)]
        sources = [_source(text, tagged, self.rules, self.names) for text in texts]
        return Masking(sources, self.rules, self.key, self.names)


def masks(asked: MaskAsked, rules: Rules, key: bytes | None = None, names: Names | None = None) -> Masks | None:
    """What one request wants masked; None if nothing.

    Args:
        rules: what is masked here at most.
        key: what makes tokens that can be read again; nothing where they cannot be asked for.

    Raises:
        UserError: a kind that is not masked here, or reversible tokens where there is no key.
    """
    if asked is False:
        return None
    options = MaskOptions() if asked is True else asked
    if options.reversible and key is None:
        raise UserError("Masking cannot be reversed here: the endpoint has no key for it. Ask without `reversible`.")
    chosen = rules if options.kinds is None else rules.only(options.kinds)
    return Masks(chosen, key if options.reversible else None, names)


@dataclass(frozen=True, slots=True)
class _Source:
    """A text of the input, and what is personal in it."""

    text: str
    found: list[Finding]


@dataclass(frozen=True, slots=True)
class Masking:
    """Masks what is said of some texts.

    Numbers are found where words say what they are, and an output may hold only a piece of the text. What is personal
    in the input is therefore masked wherever the output repeats it, and by its place in pieces that have one (`start`
    and `end`). Those places stay what they are: places in the raw text, which whoever asked has.
    """

    sources: Sequence[_Source]
    rules: Rules
    key: bytes | None
    names: Names | None

    def of(self, value: Any) -> Any:
        """The value, of the same type, with the personal data in all its strings masked."""
        if isinstance(value, str):
            return self._string(value, [])
        if isinstance(value, (list, tuple)):
            return type(value)(self.of(inner) for inner in value)
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{field.name: self._field(value, field.name) for field in fields(value)})
        # Keys of dicts are labels of the model.
        return {name: self.of(inner) for name, inner in value.items()} if isinstance(value, dict) else value

    def _field(self, owner: Any, name: str) -> Any:
        value = getattr(owner, name)
        return self._string(value, self._by_place(owner, value)) if isinstance(value, str) else self.of(value)

    def _by_place(self, owner: Any, text: str) -> list[Finding]:
        """What is personal in a piece of the input, by what is personal where it stands."""
        start, end = getattr(owner, "start", None), getattr(owner, "end", None)
        if not isinstance(start, int) or not isinstance(end, int):
            return []
        return [
            Finding(one.kind, max(one.start, start) - start, min(one.end, end) - start)
            for source in self.sources
            if source.text[start:end] == text
            for one in source.found
            if one.start < end and one.end > start
        ]

    def found(self, text: str) -> list[Finding]:
        """What is personal in a text that the model wrote, in its order and without overlaps."""
        own = find(text, self.rules, self.names(text) if self.names else ())
        return merge([*own, *self._repeated(text)], {})

    def personal(self, text: str) -> list[Finding]:
        """What is personal in one of the texts of the input, in its order and without overlaps."""
        return merge([one for source in self.sources if source.text == text for one in source.found], {})

    def values(self) -> set[str]:
        """All that is personal in the input: what is masked wherever it is repeated."""
        return {source.text[one.start : one.end] for source in self.sources for one in source.found}

    def _string(self, text: str, by_place: Iterable[Finding]) -> str:
        return mask(text, [*by_place, *self.found(text)], self.key).text

    def _repeated(self, text: str) -> Iterator[Finding]:
        for source in self.sources:
            for one in source.found:
                for again in _as_words(source.text[one.start : one.end]).finditer(text):
                    yield Finding(one.kind, *again.span())


def _source(text: str, tagged: Iterable[Entity], rules: Rules, names: Names | None) -> _Source:
    there = [entity for entity in tagged if text[entity.start : entity.end] == entity.text]
    return _Source(text, find(text, rules, [*there, *(names(text) if names else ())]))


def _dataclasses(value: Any) -> Iterator[Any]:
    """All dataclasses in a value, itself among them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _dataclasses(inner)
    elif is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in fields(value):
            yield from _dataclasses(getattr(value, field.name))


def _as_words(value: str) -> re.Pattern[str]:
    """Where a value stands in a text, but not inside of a longer word."""
    part = f"[^\\W{TOGETHER}]"
    return re.compile(f"(?<!{part}(?={part})){re.escape(value)}(?!(?<={part}){part})")
