"""Checkpoints: whole ones to which something happened, and ones that were made to mislead."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.train.checkpoint import open_checkpoint
from pipelines.train.checkpoint_choose import choose
from pipelines.train.checkpoint_index import INDEX
from pipelines.train.checkpoint_write import save_checkpoint
from tests.fuzz.damage import damaged, damages
from tests.fuzz.trial import CANARY, Trial, fuzzed, lay

NAMES = ("a.weight", "b.bias")
PARTS = [
    ({"a.weight": torch.arange(4.0)}, {"a.weight/step": torch.tensor(3.0), "a.weight/exp_avg": torch.ones(4)}),
    (
        {"b.bias": torch.tensor([7.0]), "b.half": torch.ones(2, 3, dtype=torch.bfloat16)},
        {"b.bias/exp_avg": torch.zeros(1)},
    ),
]
FILES = ("weights-0.safetensors", "optimizer-0.safetensors", "weights-1.safetensors", "optimizer-1.safetensors")
AWAY = (
    "../../../beside/weights-0.safetensors",
    "../..",
    "..",
    ".",
    "",
    "/",
    "/etc/hostname",
    "a/b",
    "x\0y",
    "a" * 300,
    "\ud800",
)

STEP = Path("checkpoints", "step-00000400")

_json = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.sampled_from([2**70, 1e999])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
_sizes = st.sampled_from([0, 1, 2, 7, 8, 9, 100, 2**20, 2**31, 2**40, 2**63 - 1, 2**64 - 1])

ODD_FACTS = (
    *AWAY,
    "1",
    "9" * 5000,
    -1,
    1.5,
    None,
    True,
    math.inf,
    -math.inf,
    math.nan,
    2**70,
    {},
    [],
    [[]],
    {"seed": []},
)
"""What an index could say of anything."""

SAVED = {name: tensor for part in PARTS for tensors in part for name, tensor in tensors.items()}

Harm = tuple[str, Any, Any]


@st.composite
def _tensors(draw: st.DrawFn) -> bytes:
    """A safetensors file whose header says anything of the bytes behind it."""
    entry = st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(
                ["F32", "F32", "F64", "I64", "U8", "BF16", "BOOL", "F8_E4M3", "F4", "C64", "X", 5, None]
            ),
            "shape": st.one_of(st.just([2]), st.lists(st.one_of(st.integers(-2, 4), _sizes), max_size=3), _json),
            "data_offsets": st.one_of(
                st.just([0, 8]), st.lists(st.one_of(_sizes, st.just(-1)), min_size=2, max_size=2), _json
            ),
        }
    )
    names = st.sampled_from(
        ["a.weight", "a.weight/step", "b.bias", "", "__metadata__", "../x", "x\0", "a/b/c", ".loss_scale/scale"]
    )
    header = draw(st.dictionaries(names, st.one_of(entry, entry, entry, _json), max_size=3))
    text = draw(st.one_of(st.just(json.dumps(header)), st.just("{" * 3000), st.just(""), st.just("[]"))).encode()
    length = draw(st.one_of(st.just(len(text)), st.just(len(text)), _sizes))
    return struct.pack("<Q", length) + text + bytes(draw(st.sampled_from([0, 7, 8, 16, 100])))


@st.composite
def _harm(draw: st.DrawFn) -> Harm:
    """A kind, what it is done to, and with what."""
    kind = draw(
        st.sampled_from(
            ["damage", "damage", "damage", "lose", "swap", "rename", "folder", "link", "index", "header", "add"]
        )
    )
    name = draw(st.sampled_from([INDEX, *FILES]))
    if kind == "damage":
        return kind, name, draw(damages(2))
    if kind == "swap":
        return kind, name, draw(st.sampled_from([INDEX, *FILES]))
    if kind == "rename":
        return (
            kind,
            name,
            draw(
                st.sampled_from(["weights-7.safetensors", "optimizer-x.safetensors", "other", "weights-.safetensors"])
            ),
        )
    if kind == "index":
        key = draw(st.sampled_from(["format", "step", "facts", "files", "digests", "version"]))
        files = st.lists(st.sampled_from([*FILES, *AWAY, INDEX, 5, None]), max_size=4)
        return kind, key, draw(st.one_of(files, _json, st.sampled_from(ODD_FACTS)))
    if kind in ("header", "add"):
        return kind, draw(st.sampled_from(FILES if kind == "header" else ["weights-2.safetensors"])), draw(_tensors())
    return kind, name, None


def _do(place: Path, harm: Harm) -> None:
    kind, name, other = harm
    path = place / (INDEX if kind == "index" else name)
    if kind in ("header", "add"):
        if path.is_file() or not path.exists():
            path.write_bytes(other)
    elif not path.is_file():
        return
    elif kind == "damage":
        path.write_bytes(damaged(path.read_bytes(), other))
    elif kind == "lose":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "link":
        path.unlink()
        path.symlink_to(place.parents[2] / "nowhere")
    elif kind == "rename":
        if not (place / other).exists():
            path.rename(place / other)
    elif kind == "swap":
        if (place / other).is_file():
            raw = path.read_bytes()
            path.write_bytes((place / other).read_bytes())
            (place / other).write_bytes(raw)
    elif kind == "index":
        _tell(path, name, other)


def _tell(path: Path, key: str, value: Any) -> None:
    try:
        index = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return
    if isinstance(index, dict):
        path.write_text(json.dumps(index | {key: value}), encoding="utf-8")


@pytest.fixture
def saved(trial: Trial) -> Trial:
    """A good run to copy, and beside it a checkpoint that nobody asked for."""
    save_checkpoint(trial.place / "good", step=400, facts={"seed": 1}, parts=iter(PARTS))
    parts = [({CANARY: torch.ones(1)}, {f"a.weight/{CANARY}": torch.ones(1)})]
    other = save_checkpoint(trial.place / "other", step=1, facts={}, parts=iter(parts))
    other.rename(trial.place / "beside")
    return trial


@fuzzed
@given(st.lists(_harm(), max_size=3), st.booleans())
def test_a_checkpoint_is_read_or_refused_in_words(saved: Trial, harms: list[Harm], by_run: bool) -> None:
    run = saved.given / "run"
    place = run / STEP
    lay(place, {name: (saved.place / "good" / STEP / name).read_bytes() for name in (INDEX, *FILES)})
    for harm in harms:
        _do(place, harm)

    meant = run if by_run else place

    def everything() -> dict[str, torch.Tensor]:
        checkpoint = open_checkpoint(meant)
        return dict(checkpoint.weights()) | dict(checkpoint.moments(NAMES))

    found = saved.read("checkpoints: unverified", everything)
    if isinstance(found, dict):
        assert not any(CANARY in name for name in found)

    def verified() -> dict[str, torch.Tensor]:
        checkpoint = choose(meant).checkpoint
        assert (checkpoint.step, checkpoint.facts) == (400, {"seed": 1})
        return dict(checkpoint.weights()) | dict(checkpoint.moments(NAMES))

    found = saved.read("checkpoints: verified", verified)
    if isinstance(found, dict):
        # Whatever was done, what is read is what was saved.
        assert set(found) == set(SAVED)
        assert all(torch.equal(found[name], SAVED[name]) for name in SAVED)


@fuzzed
@given(st.one_of(st.sampled_from([*AWAY, "run", "good"]), st.text(max_size=8)))
def test_a_place_that_is_no_checkpoint_is_refused_in_words(saved: Trial, name: str) -> None:
    saved.read("checkpoints: places", lambda: open_checkpoint(f"{saved.given}/{name}"))
