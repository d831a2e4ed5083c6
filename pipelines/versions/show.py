"""The versions of a model, for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.versions.registry_view import RegistryView, Version
from pipelines.versions.wanted import REFUSED, SHADOW, SHOWN, TRY, challenger_of, previous_of

HISTORY = ("task", "form", "made_of", "score")
"""Tags of where a version comes from, as training and compressing write them."""


def rows_of(versions: Sequence[Version], *, champion: str) -> list[dict[str, Any]]:
    """In JSON, in their order; `champion` is the alias of what is served."""
    return [
        {
            "version": version.version,
            "aliases": list(version.aliases),
            "state": state_of(version.aliases, version.tags, champion=champion),
            "tags": {name: version.tags[name] for name in HISTORY if name in version.tags},
            "shown": _shown(version.tags.get(SHOWN)),
        }
        for version in versions
    ]


def listed(registry: RegistryView, *, as_json: bool) -> str:
    """All versions of a model, as a table or as JSON.

    Raises:
        UserError: there is no such model, or MLflow cannot be used.
    """
    rows = rows_of(registry.versions(), champion=registry.alias)
    if as_json:
        return json.dumps(rows)
    table = Table(box=SIMPLE_HEAD)
    for column in ("version", "aliases", *HISTORY, "state"):
        table.add_column(column, justify="right" if column in ("version", "score") else "left")
    for row in rows:
        # Tags are anybody's text: none of it is markup.
        cells = [row["version"], ", ".join(row["aliases"]), *(row["tags"].get(name, "") for name in HISTORY)]
        table.add_row(*map(Text, cells), Text(row["state"]))
    console = Console(width=120)
    with console.capture() as said:
        console.print(table)
    return said.get().rstrip()


def state_of(aliases: Sequence[str], tags: Mapping[str, str], *, champion: str) -> str:
    """What becomes of a version, in a few words."""
    refused = tags.get(REFUSED)
    if champion in aliases:
        return "served" if refused is None else f"refused, endpoints keep what they have: {refused}"
    if refused is not None:
        return f"refused: {refused}"
    if challenger_of(champion) in aliases:
        shown = _shown(tags.get(SHOWN))
        said = f"; {shown['verdict']}: {shown['why']}" if shown else ""
        return f"tried as {tags.get(TRY, SHADOW)}{said}"
    return "served before" if previous_of(champion) in aliases else ""


def _shown(tag: str | None) -> dict[str, Any] | None:
    """What a candidate has shown; nothing where the tag is somebody's own."""
    try:
        said = json.loads(tag or "null")
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and {"verdict", "why"} <= set(said) else None
