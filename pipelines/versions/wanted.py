"""What the registry says shall be served, in aliases and tags that people can set by hand, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipelines.errors import UserError
from pipelines.serve_settings import TrialConfig

if TYPE_CHECKING:
    from pipelines.inference.registry import ModelRef

CHALLENGER = "challenger"
"""The alias of the candidate."""
PREVIOUS = "previous"
"""The alias of the version that was served before the champion, and comes back if it has to."""

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
