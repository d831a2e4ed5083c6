"""What something takes on a device."""

from __future__ import annotations

import time

from pipelines.train.device import Device


class Watch:
    """Appends the seconds that something took on the device to a list."""

    def __init__(self, device: Device, into: list[float]) -> None:
        self._device, self._into = device, into

    def __enter__(self) -> None:
        self._start, self._moment = time.perf_counter(), self._device.now()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._device.wait(since=self._moment)
        self._into.append(time.perf_counter() - self._start)
