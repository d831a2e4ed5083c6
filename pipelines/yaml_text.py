"""YAML that a person wrote, by `yaml.safe_load` and stricter: what it lets pass in silence or trips over is refused."""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.error import MarkedYAMLError

ROOM = 10_000
"""How many values aliases may add to a file. Some lines of them can stand for more than any memory holds."""

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def parse(text: str) -> Any:
    """The one document of a text.

    Raises:
        yaml.YAMLError: it is not YAML, is nested too deep, names a key twice (the first would be ignored), holds a
            value that is not of its kind, a whole number of more than 64 bits, a text that no name could be, or an
            alias that stands for itself or for too much.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _size(node, len(text) + ROOM, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep to be read; write it flatter") from None


class _Refused(MarkedYAMLError):
    def __init__(self, problem: str, node: yaml.Node) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError):
            # A date that no calendar has, `!!int x` and the like: the constructors expect what the resolver lets pass.
            kind = node.tag.rpartition(":")[2]
            said = shown(node.value) if isinstance(node, yaml.ScalarNode) else "this"
            raise _Refused(f"{said} cannot be read as {kind}; put it in quotes, or correct it", node) from None
        if isinstance(value, int) and value.bit_length() > 63:
            raise _Refused(f"{shown(node.value)} is a whole number of more than 64 bits; use a smaller one", node)
        if isinstance(value, str) and _NO_TEXT.search(value):
            raise _Refused(
                f"{shown(value)} holds NUL or half of a surrogate pair, which no name can; leave it out", node
            )
        return value


def _size(node: yaml.Node, most: int, known: dict[int, int]) -> int:
    """How many values a node stands for; an alias counts as what it stands for. `known` holds 0 for those begun."""
    if id(node) in known:
        if not known[id(node)]:
            raise _Refused("the alias stands for something that holds itself; write out what is meant", node)
        return known[id(node)]
    known[id(node)], size = 0, 1
    if isinstance(node, yaml.MappingNode):
        _refuse_twice(node)
        size += sum(_size(part, most, known) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_size(part, most, known) for part in node.value)
    if size > most:
        raise _Refused(f"the aliases in it stand for more than {most} values; write out what is meant", node)
    known[id(node)] = size
    return size


def _refuse_twice(node: yaml.MappingNode) -> None:
    first: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            there = first.setdefault((key.tag, key.value), key.start_mark.index)
            if there != key.start_mark.index:
                raise _Refused(f"the key {shown(key.value)} is here a second time; keep one of the two", key)


def reason(error: yaml.YAMLError) -> str:
    """What `parse` found, on one line; a long text that it quotes is cut off."""
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else f"{text[:500]}..."


def shown(value: object, limit: int = 200) -> str:
    """A value as Python writes it, at most about `limit` characters of it."""
    try:
        text = repr(value)
    except RecursionError:  # an override of thousands of dots
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[:limit]}..."
