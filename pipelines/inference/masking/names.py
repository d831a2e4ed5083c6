"""Names, which no pattern knows: what a model that tags entities says is a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from pipelines.inference.entities import Entity
from pipelines.inference.masking.finding import Finding

PERSONAL: Mapping[str, str] = MappingProxyType({"PER": "name", "PERSON": "name"})
"""Types of entities that are personal, and the kinds that they are; other models have other types."""


def find_names(entities: Iterable[Entity], types: Mapping[str, str], kinds: Iterable[str]) -> Iterator[Finding]:
    """Entities of the types that are personal and of the kinds wanted; those of nothing (0 code points) are none."""
    wanted = set(kinds)
    for entity in entities:
        if types.get(entity.type) in wanted and entity.start < entity.end:
            yield Finding(types[entity.type], entity.start, entity.end)
