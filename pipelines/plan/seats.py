"""Which device of its type each stage gets: neighbours on one node where there is room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipelines.plan.devices import Device


def seat(types: Sequence[str], devices: Sequence[Device]) -> list[Device]:
    """A device for every stage; devices of a type are interchangeable but for the node that they are on.

    A stage sits beside the one before where it can, else on the node with the most devices of its type left.

    Args:
        types: of every stage, the type of its device.

    Raises:
        ValueError: there are too few devices of a type.
    """
    left = list(devices)
    seated: list[Device] = []
    for wanted in types:
        fit = [device for device in left if device.type == wanted]
        if not fit:
            raise ValueError(f"there are too few devices of type {wanted}")
        room = Counter(device.node for device in fit)
        before = seated[-1].node if seated else None
        chosen = min(fit, key=lambda device: (device.node != before, -room[device.node], device.node))
        left.remove(chosen)
        seated.append(chosen)
    return seated
