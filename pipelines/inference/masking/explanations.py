"""An explanation that says no more of personal data than a masked answer does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pipelines.inference.explain import Explained, Token
from pipelines.inference.masking.answers import Masking
from pipelines.inference.masking.finding import Finding
from pipelines.inference.masking.replacing import mask


def mask_explained(explained: Explained, given: Any, masking: Masking) -> Explained:
    """The sub-words of something personal become one, which is masked as a whole.

    Its attribution is their sum, so that attributions add up to what they did. One by one, each with a place of its
    own, they would say how the tokenizer cuts what is masked; sealed ones would be a cipher of few letters.

    Args:
        given: the input that is explained.
    """
    tokens: list[Token] = []
    for field in dict.fromkeys(token.field for token in explained.tokens):
        text = getattr(given, field)
        of_field = [token for token in explained.tokens if token.field == field]
        tokens += _masked(of_field, text, masking)
    return replace(explained, target=masking.of(explained.target), tokens=tokens)


def _masked(tokens: Sequence[Token], text: str, masking: Masking) -> Iterator[Token]:
    found = masking.personal(text)
    for group in _groups(tokens, found):
        start, end = min(one.start for one in group), max(one.end for one in group)
        inside = [one for one in found if one.start < end and one.end > start]
        if not inside:
            yield masking.of(group[0])
            continue
        start, end = min(start, inside[0].start), max(end, inside[-1].end)
        places = [Finding(one.kind, one.start - start, one.end - start) for one in inside]
        hidden = mask(text[start:end], places, masking.key).text
        yield Token(group[0].field, start, end, hidden, sum(one.attribution for one in group))


def _groups(tokens: Sequence[Token], found: Sequence[Finding]) -> Iterator[list[Token]]:
    """Neighbours that have a part in the same finding, and all others alone."""
    group: list[Token] = []
    for token in tokens:
        if group and not any(_touches(group[-1], one) and _touches(token, one) for one in found):
            yield group
            group = []
        group.append(token)
    if group:
        yield group


def _touches(token: Token, one: Finding) -> bool:
    return token.start < one.end and token.end > one.start
