"""What the registry says shall be served, in aliases and tags that people can set by hand, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from pipelines.errors import UserError
from pipelines.serve_settings import TrialConfig

if TYPE_CHECKING:
    from pipelines.inference.registry import ModelRef

CHAMPION = "champion"
"""The alias of what is served, unless track.alias says otherwise."""

# Tags of a version.
TRY = "motley.serve.try"
"""How a candidate is tried: `shadow` or `share:0.1`."""
GATE = "motley.serve.gate"
"""What it must show: a JSON object with keys of `serve.trial`; the endpoint's own hold for the others."""
REFUSED = "motley.serve.refused"
"""Why no endpoint serves or tries this version any more. `jobs.versions try` and `promote` take it off."""
SHOWN = "motley.serve.shown"
"""What a candidate has shown so far, as JSON; for people."""

SHADOW = "shadow"
_SHARE = "share:"


@dataclass(frozen=True, slots=True)
class Challenger:
    """A candidate, and how it is tried."""

    ref: ModelRef
    share: float | None
    """The part of the requests that it answers; None: it answers none, and is asked in the champion's shadow."""
    gate: TrialConfig


@dataclass(frozen=True, slots=True)
class Wanted:
    champion: ModelRef
    challenger: Challenger | None = None
    previous: ModelRef | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    """Versions among these, and what is served, that shall not be served any more; and why."""


class Registry(Protocol):
    """As RegistryView: blocking, and an exception where the store is out of reach."""

    def read(self, served: str | None = None) -> Wanted: ...

    def promote(self, version: str, *, only_challenger: bool) -> Any: ...

    def remember(self, previous: str) -> None: ...

    def roll_back(self, why: str, *, version: str, to: str) -> Any: ...

    def refuse(self, version: str, why: str) -> None: ...

    def show(self, version: str, facts: dict[str, Any]) -> None: ...


def challenger_of(alias: str) -> str:
    """The alias of the candidate for what `alias` serves."""
    return _beside(alias, "challenger")


def previous_of(alias: str) -> str:
    """The alias of what `alias` served before, which comes back if it has to."""
    return _beside(alias, "previous")


def _beside(alias: str, role: str) -> str:
    """Others than the usual alias have their own: endpoints of several forms of one model do not meet."""
    return role if alias == CHAMPION else f"{alias}-{role}"


def way(share: float | None) -> str:
    """The tag for it.

    Raises:
        UserError: no part of all requests.
    """
    if share is None:
        return SHADOW
    if not 0 < share <= 1:
        raise UserError(f"A candidate cannot have {share:g} of the requests: give a share above 0, at most 1.")
    return f"{_SHARE}{share:g}"


def share_of(tag: str) -> float | None:
    """What `way` wrote, or somebody by hand.

    Raises:
        UserError: it is neither `shadow` nor a share.
    """
    if tag == SHADOW:
        return None
    try:
        if not tag.startswith(_SHARE):
            raise ValueError
        share = float(tag.removeprefix(_SHARE))
        way(share)
    except ValueError:
        raise UserError(f"The tag {TRY} is {tag[:40]!r}: set it to shadow, or to a share such as share:0.1.") from None
    return share


def gate_of(tag: str | None, defaults: TrialConfig) -> TrialConfig:
    """`defaults`, but for what the tag says.

    Raises:
        UserError: the tag is no JSON object, or has keys or values that `serve.trial` cannot have.
    """
    if tag is None:
        return defaults
    try:
        said = json.loads(tag)
        return TrialConfig.model_validate(defaults.model_dump() | said)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, TypeError, RecursionError):
        why = "it is no JSON object"
    raise UserError(f"The tag {GATE} cannot be used ({why}): it takes {', '.join(TrialConfig.model_fields)}.")
