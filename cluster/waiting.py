"""Every wait for an actor has an end, and its error names who was awaited, and for what."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

from pipelines.errors import UserError


class ActorLost(RuntimeError):
    """An actor died while it was awaited, or what it had made was lost with its node."""


def wait_for(awaited: Mapping[str, ray.ObjectRef[Any]], *, to: str, timeout: float) -> list[Any]:
    """The results of all calls, in the order of `awaited` (who -> call).

    The first failure ends the wait, so that one dead actor does not leave its neighbours' waits to run out.

    Raises:
        TimeoutError: some did not answer in `timeout` seconds; says who and what for.
        ActorLost: an actor died.
        UserError, TimeoutError, FloatingPointError: what the actor itself raised.
    """
    left = dict(awaited)
    deadline = time.monotonic() + timeout
    while left:
        for who in wait_for_any(left, to=to, timeout=timeout, seconds=deadline - time.monotonic()):
            del left[who]
    return [ray.get(ref) for ref in awaited.values()]


def wait_for_any(
    awaited: Mapping[str, ray.ObjectRef[Any]], *, to: str, timeout: float, seconds: float | None = None
) -> list[str]:
    """Those of whom a call is done, when there is at least one.

    Args:
        seconds: of the `timeout` that are left; all of them when left out.

    Raises:
        TimeoutError, ActorLost, UserError, FloatingPointError: as `wait_for`.
    """
    names = {ref: who for who, ref in awaited.items()}
    done, pending = ray.wait(list(names), num_returns=1, timeout=max(0.0, timeout if seconds is None else seconds))
    if not done:
        late = ", ".join(names[ref] for ref in pending)
        raise TimeoutError(f"Waited {timeout:g} s for {late} to {to} (plan.timeout).")
    for ref in done:
        try:
            ray.get(ref)
        except RayTaskError as error:
            raise _cause(error, names[ref], to) from error
        except (RayActorError, ObjectLostError) as error:
            reason = str(error).split("\n", 1)[0]
            raise ActorLost(f"{names[ref]} died while it was to {to}: {reason}") from error
    return [names[ref] for ref in done]


def _cause(error: RayTaskError, who: str, to: str) -> Exception:
    cause = error.cause
    if isinstance(cause, RayActorError | ObjectLostError):
        reason = str(cause).split("\n", 1)[0]
        return ActorLost(f"{who} could not {to}: what it was to be handed was lost with whoever held it: {reason}")
    if isinstance(cause, UserError):
        return UserError(str(cause))
    if isinstance(cause, TimeoutError | FloatingPointError):
        return type(cause)(str(cause))
    return RuntimeError(f"{who} failed to {to}: {cause!r}")
