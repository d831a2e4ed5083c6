"""A measurement as a file that a person may edit, and the folder of such files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.plan.devices import Device
from pipelines.plan.measured import Link
from pipelines.plan.measured_cache import Cache, default_folder, merged
from pipelines.plan.measured_file import from_yaml, to_yaml
from tests.unit.pipelines.plan.measured_example import FAST, LARGE, MEASURED, SLOW, SMALL

HERE = Path("measured.yaml")
CPU = Device(type="slow", kind="cpu", node="n1", cpus=2, gpus=0, memory=2**32, chip="EPYC", threads=2)


def test_what_is_written_is_read_back() -> None:
    assert from_yaml(to_yaml(MEASURED), HERE) == MEASURED
    varied = replace(MEASURED, types=(FAST, replace(SLOW, varies=0.125)))
    assert from_yaml(to_yaml(varied), HERE) == varied


def test_a_file_from_before_it_was_known_that_times_vary_says_that_they_do_not() -> None:
    lines = to_yaml(MEASURED).splitlines(keepends=True)
    older = [line for line in lines if not line.lstrip().startswith("varies:")]
    assert len(older) == len(lines) - len(MEASURED.types)
    assert from_yaml("".join(older), HERE) == MEASURED


def test_an_edited_time_is_the_time() -> None:
    text = to_yaml(MEASURED)
    assert text.count("block: {forward_ms: 4.0,") == 1
    edited = from_yaml(text.replace("block: {forward_ms: 4.0,", "block: {forward_ms: 4.5,"), HERE)
    assert edited.times_at("fast", SMALL).forward == (0.001, 0.0045, 0.002)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("block: {forward_ms: 4.0,", "block: {forward_ms: -4.0,", "'types.0.shapes.0.units.block.forward_ms' is -4.0"),
        ("block: {forward_ms: 4.0,", "blok: {forward_ms: 4.0,", r"does not list the units .* \['block', 'blok'\]"),
        ("kind: gpu", "kind: tpu", "'types.0.kind' is 'tpu': input should be 'cpu' or 'gpu'"),
        ("model: ", "model: [", "is not valid YAML"),
    ],
)
def test_a_slip_is_told_with_its_place(before: str, after: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        from_yaml(to_yaml(MEASURED).replace(before, after, 1), HERE)


def test_what_was_kept_is_found_again_for_a_device_like_it_and_for_no_other(tmp_path: Path) -> None:
    cache = Cache(tmp_path, {"torch": "2.13.0"})
    one = replace(MEASURED, types=(SLOW,), links=())
    assert cache.keep_units(one, "f00d", CPU, "float32") == one
    other_node = replace(CPU, node="n2", memory=2**31)
    assert cache.units(MEASURED.model, "f00d", other_node, "float32") == one
    assert cache.units(MEASURED.model, "f00d", replace(CPU, threads=1), "float32") is None
    assert cache.units(MEASURED.model, "f00d", replace(CPU, slowdown=2.0), "float32") is None
    assert cache.units(MEASURED.model, "beef", CPU, "float32") is None
    assert Cache(tmp_path, {"torch": "2.14.0"}).units(MEASURED.model, "f00d", CPU, "float32") is None


def test_a_way_is_kept_whichever_end_is_named_first(tmp_path: Path) -> None:
    cache, fast = Cache(tmp_path, {}), replace(CPU, type="fast")
    link = Link(("slow", "fast"), 0.0001, 1e9, same_node=True)
    cache.keep_link(link, (CPU, fast))
    assert cache.links((fast, CPU), same_node=True) == link
    assert cache.links((fast, CPU), same_node=False) is None


def test_new_shapes_join_those_that_are_known() -> None:
    known = replace(FAST, times=FAST.times[1:])
    assert [times.shape for times in merged(known, FAST.times[:1]).times] == [SMALL, LARGE]


def test_the_folder_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTLEY_CACHE", "/elsewhere")
    assert default_folder() == Path("/elsewhere/measured")
