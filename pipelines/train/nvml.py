"""The energy counter of an NVIDIA GPU, from the library that comes with its driver.

One function of it is needed, so no package that wraps them all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

LIBRARY = "libnvidia-ml.so.1"


def energy_counter(uuid: str, library: Any = None) -> Callable[[], float] | None:
    """What reads the joules that a GPU has drawn since its driver was loaded (Volta and newer).

    Args:
        uuid: the GPU's, as the driver writes it: `GPU-` and 32 digits in groups.
        library: NVML; the driver's own when left out.

    Returns:
        None where there is no driver, no such GPU (a slice of one is none), or no counter on it.
    """
    try:
        nvml = ctypes.CDLL(LIBRARY) if library is None else library
    except OSError:
        return None
    handle = ctypes.c_void_p()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
        return None

    def millijoules() -> int | None:
        value = ctypes.c_ulonglong()
        failed = nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value))
        return None if failed else value.value

    last = millijoules()
    if last is None:
        return None

    def joules() -> float:
        nonlocal last
        # Where it cannot be read for once, as it was.
        last = last if (value := millijoules()) is None else value
        assert last is not None
        return last / 1000

    return joules
