"""Trim a tokenizer: sub-words that given texts never use go, and those texts are still cut as before.

Which sub-words may go beside those that are used depends on how the tokenizer cuts:

    WordPiece   the longest piece that fits, again and again: a shorter list never finds a longer one
    Unigram     the pieces that are likeliest together: what was best is best among fewer; the least likely piece
                stays, since from it follows what an unknown character costs
    BPE         merges by rank: those by which a used piece came to be stay, in their order, with what they make

Special and added tokens, single characters and bytes stay, so that any other text falls back to smaller pieces.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pipelines.errors import UserError

MARKS = ("##", "▁", "Ġ")
"""What pieces begin with that go on in a word, or open one."""
Description = dict[str, Any]
"""Of a tokenizer: what `tokenizer.json` holds."""


def needed(description: Description, used: Iterable[int]) -> list[int]:
    """The numbers of the pieces that stay, ascending.

    Args:
        used: numbers of the pieces that given texts are cut into.

    Raises:
        UserError: a tokenizer that cuts in another way.
    """
    pieces = pieces_of(description)
    model = description["model"]
    added = {token["id"] for token in description.get("added_tokens", ())}
    small = {number for piece, number in pieces.items() if _is_small(piece)}
    unknown = model.get("unk_token")
    keep = added | small | set(used) | ({pieces[unknown]} if unknown in pieces else set())
    match model["type"]:
        case "WordPiece":
            pass
        case "Unigram":
            scores = [score for _, score in model["vocab"]]
            keep |= {scores.index(min(scores)), *([] if model["unk_id"] is None else [model["unk_id"]])}
        case "BPE":
            _refuse_marked(model)
            ranks = {pair: rank for rank, pair in enumerate(_merges(model))}
            of_number = {number: piece for piece, number in pieces.items()}
            made = {part for number in keep for part in _made_of(of_number[number], ranks)}
            keep |= {pieces[piece] for piece in made}
    return sorted(keep)


def pieces_of(description: Description) -> dict[str, int]:
    """All pieces and added tokens with their numbers.

    Raises:
        UserError: a tokenizer that has none, or whose are not known here.
    """
    kind = description["model"].get("type")
    if kind not in ("WordPiece", "Unigram", "BPE"):
        raise UserError(
            f"The vocabulary of a tokenizer of the kind {kind!r} cannot be trimmed: WordPiece, Unigram and BPE can be."
        )
    vocabulary = description["model"]["vocab"]
    # Of Unigram a list of pieces and their scores.
    names = [piece for piece, _ in vocabulary] if kind == "Unigram" else None
    pieces = dict(vocabulary) if names is None else {piece: number for number, piece in enumerate(names)}
    return pieces | {token["content"]: token["id"] for token in description.get("added_tokens", ())}


def trimmed(description: Description, kept: Sequence[int]) -> Description:
    """The tokenizer with the pieces `kept` alone, which are numbered anew from 0, in their order."""
    made: Description = json.loads(json.dumps(description))
    number = {old: new for new, old in enumerate(kept)}
    model = made["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for at, entry in enumerate(model["vocab"]) if at in number]
        model["unk_id"] = None if model["unk_id"] is None else number[model["unk_id"]]
    else:
        model["vocab"] = {piece: number[old] for piece, old in model["vocab"].items() if old in number}
    if model["type"] == "BPE":
        there = model["vocab"]
        model["merges"] = [[a, b] for a, b in _merges(model) if a in there and b in there and a + b in there]
    for token in made.get("added_tokens", ()):
        token["id"] = number[token["id"]]
    _renumber(made.get("post_processor"), number)
    return made


def _renumber(processor: Any, number: Mapping[int, int]) -> None:
    """Special tokens that are put around a text."""
    if not processor:
        return
    for inner in processor.get("processors", ()):
        _renumber(inner, number)
    for name in ("sep", "cls"):
        if name in processor:
            processor[name][1] = number[processor[name][1]]
    special = processor.get("special_tokens")
    for token in special.values() if isinstance(special, dict) else ():
        token["ids"] = [number[old] for old in token["ids"]]


def _is_small(piece: str) -> bool:
    """A single character, however it is marked, or a byte such as `<0x0A>`."""
    for mark in MARKS:
        if piece != mark:
            piece = piece.removeprefix(mark)
    return len(piece) <= 1 or (len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"))


def _merges(model: Description) -> list[tuple[str, str]]:
    """Older files have both parts in one word."""
    found = [entry.split(" ") if isinstance(entry, str) else entry for entry in model["merges"]]
    return [(first, second) for first, second in found]


def _made_of(piece: str, ranks: Mapping[tuple[str, str], int]) -> set[str]:
    """All that merging makes on the way to `piece`, and the piece: inside a piece that was used no merge was another,
    since none goes beyond its ends."""
    parts, made = list(piece), {piece}
    while len(parts) > 1:
        rank, at = min((ranks.get(pair, len(ranks)), at) for at, pair in enumerate(pairwise(parts)))
        if rank == len(ranks):
            # No merges lead to it: an added token.
            return {piece}
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        made.add(parts[at])
    return made


def _refuse_marked(model: Description) -> None:
    for name in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(name):
            raise UserError(
                f"The vocabulary of this BPE tokenizer cannot be trimmed: its {name} ({model[name]!r}) changes what "
                "merges make. Leave out --trim-vocabulary."
            )
