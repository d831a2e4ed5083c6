"""What counters of energy come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.train.meter import Counter, Drawn, Meter
from pipelines.train.nvml import energy_counter


def zone(powercap: Path, number: str, name: str, microjoules: int, limit: int = 1_000_000_000) -> None:
    place = powercap / f"intel-rapl:{number}"
    place.mkdir(parents=True, exist_ok=True)
    for file, text in {"name": name, "energy_uj": microjoules, "max_energy_range_uj": limit}.items():
        (place / file).write_text(f"{text}\n")


def test_packages_and_their_memory_are_counted_and_what_is_within_or_around_them_is_not(tmp_path: Path) -> None:
    parts = [("0", "package-0"), ("0:0", "core"), ("0:1", "dram"), ("1", "package-1"), ("2", "psys")]
    for number, name in parts:
        zone(tmp_path, number, name, 5_000_000)
    meter = Meter(powercap=tmp_path)
    assert meter.read() == Drawn(0.0, None)
    for number, name in parts:
        zone(tmp_path, number, name, 7_000_000)
    assert meter.read() == Drawn(6.0, None)


def test_a_counter_that_begins_again_goes_on() -> None:
    counter = Counter(limit=100.0, begin=90.0)
    assert [counter.add(value) for value in (95.0, 5.0, 6.0)] == [5.0, 15.0, 16.0]
    begun_anew = Counter(limit=None, begin=90.0)
    assert [begun_anew.add(value) for value in (95.0, 5.0)] == [5.0, 10.0]


def test_where_nothing_can_be_read_nothing_is_told(tmp_path: Path) -> None:
    assert Meter(powercap=tmp_path / "none").read() == Drawn(None, None)
    zone(tmp_path, "0", "package-0", 1)
    zone(tmp_path, "1", "package-1", 1)
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("")
    assert Meter(powercap=tmp_path).read() == Drawn(None, None)


def test_a_gpu_is_counted_from_when_the_meter_was_made(tmp_path: Path) -> None:
    values = iter([100.0, 130.0])
    assert Meter(lambda: next(values), powercap=tmp_path).read() == Drawn(None, 30.0)


class Nvml:
    """A fake of NVIDIA's library, which needs its driver: one GPU, whose counter gives what it is told."""

    def __init__(self, *millijoules: int | None) -> None:
        self._left = list(millijoules)

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        handle._obj.value = 7
        return 0 if uuid == b"GPU-1" else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, value: Any) -> int:
        assert handle.value == 7
        now = self._left.pop(0)
        if now is None:
            return 3
        value._obj.value = now
        return 0


def test_an_nvidia_counter_is_read_in_joules_and_stays_where_it_fails_once() -> None:
    read = energy_counter("GPU-1", Nvml(1000, 2500, None, 4000))
    assert read is not None
    assert [read(), read(), read()] == [2.5, 2.5, 4.0]


@pytest.mark.parametrize(("uuid", "library"), [("GPU-2", Nvml(1)), ("GPU-1", Nvml(None))], ids=["no such", "too old"])
def test_a_gpu_that_tells_nothing_has_no_counter(uuid: str, library: Nvml) -> None:
    assert energy_counter(uuid, library) is None
