"""Copies of checkpoints at an address: fsspec's memory stands for a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from pipelines.checkpoint_settings import CheckpointConfig
from pipelines.errors import UserError
from pipelines.train.checkpoint import saved
from pipelines.train.checkpoint_choose import choose
from pipelines.train.checkpoint_copy import fetch, remote
from pipelines.train.shelf import Shelf

FILES = ["checkpoint.json", "optimizer-0.safetensors", "weights-0.safetensors"]


@pytest.fixture
def bucket() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/bucket", recursive=True)


def save(shelf: Shelf, step: int, score: float | None = None) -> Path:
    parts = [({"a": torch.full((4,), float(step))}, {"a/exp_avg": torch.ones(4)})]
    return shelf.save(step=step, facts={"seed": 1}, parts=parts, score=score)


def shelf_of(run: Path, notes: list[str] | None = None, address: str = "memory://bucket/runs", **more: Any) -> Shelf:
    notes = [] if notes is None else notes
    return Shelf(run, CheckpointConfig(copy_to=address, **more), notes.append)


def steps(files: Any, run: Path) -> list[str]:
    return sorted(name.rpartition("/")[2] for name in files.ls(f"/bucket/runs/{run.name}/checkpoints", detail=False))


def flip(files: Any, path: str, at: int) -> None:
    content = bytearray(files.cat_file(path))
    content[at] ^= 1
    files.pipe_file(path, bytes(content))


def test_a_checkpoint_is_copied_and_fetched_byte_for_byte(tmp_path: Path, bucket: Any) -> None:
    place = save(shelf_of(tmp_path / "run"), 1)
    there = "/bucket/runs/run/checkpoints/step-00000001"
    assert sorted(name.rpartition("/")[2] for name in bucket.ls(there, detail=False)) == FILES
    for name in FILES:
        assert bucket.cat_file(f"{there}/{name}") == (place / name).read_bytes()
    for address in ("memory://bucket/runs/run", f"memory:/{there}", "memory://bucket/runs/run/checkpoints"):
        other = tmp_path / address.replace("/", "-")
        fetched, notes = fetch(address, other)
        assert (fetched, notes) == (other / "checkpoints" / "step-00000001", ())
        assert sorted(path.name for path in fetched.iterdir()) == FILES
        assert choose(other).checkpoint.facts == {"seed": 1}


class Ordered:
    """A file system that notes the order in which it is written, which the memory does not keep."""

    def __init__(self, files: Any) -> None:
        self._files, self.done = files, list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def put_file(self, here: str, there: str) -> None:
        self.done.append(f"put {there.rpartition('/')[2]}")
        self._files.put_file(here, there)

    def pipe_file(self, there: str, content: bytes) -> None:
        self.done.append(f"put {there.rpartition('/')[2]}")
        self._files.pipe_file(there, content)

    def rm_file(self, there: str) -> None:
        self.done.append(f"remove {there.rpartition('/')[2]}")
        self._files.rm_file(there)

    def rm(self, there: str, recursive: bool = False) -> None:
        self.done.append(f"remove {there.rpartition('/')[2]}")
        self._files.rm(there, recursive=recursive)


def test_the_index_is_written_last_and_removed_first(tmp_path: Path, bucket: Any) -> None:
    from dataclasses import replace

    from pipelines.train.checkpoint_copy import mirror

    here = Shelf(tmp_path / "run", CheckpointConfig(), print)
    first, second = save(here, 1), save(here, 2)
    files = Ordered(bucket)
    there = replace(remote("memory://bucket/runs", "checkpoint.copy_to"), files=files)
    mirror(there, tmp_path / "run", [first])
    assert files.done[-1] == "put checkpoint.json"
    assert sorted(files.done) == [f"put {name}" for name in FILES]
    files.done.clear()
    mirror(there, tmp_path / "run", [second])
    assert files.done[-3:] == ["put checkpoint.json", "remove checkpoint.json", "remove step-00000001"]
    files.done.clear()
    mirror(there, tmp_path / "run", [second])
    assert files.done == []


def test_the_copies_are_those_that_stay_here(tmp_path: Path, bucket: Any) -> None:
    shelf = shelf_of(tmp_path / "run", keep=1, keep_best=1)
    for step, score in ((1, 0.1), (2, 0.9), (3, 0.5), (4, None)):
        save(shelf, step, score)
    assert steps(bucket, tmp_path / "run") == [path.name for path in saved(tmp_path / "run")]
    assert steps(bucket, tmp_path / "run") == ["step-00000002", "step-00000004"]


def test_a_score_that_comes_later_reaches_the_copy(tmp_path: Path, bucket: Any) -> None:
    shelf = shelf_of(tmp_path / "run")
    place = save(shelf, 1)
    shelf.sort_out(place, 0.75)
    assert b'"score": 0.75' in bucket.cat_file("/bucket/runs/run/checkpoints/step-00000001/checkpoint.json")


def test_runs_with_one_address_do_not_mix(tmp_path: Path, bucket: Any) -> None:
    save(shelf_of(tmp_path / "one"), 7)
    save(shelf_of(tmp_path / "other"), 1)
    assert (steps(bucket, tmp_path / "one"), steps(bucket, tmp_path / "other")) == (
        ["step-00000007"],
        ["step-00000001"],
    )


def test_a_copy_that_failed_is_told_of_and_made_with_the_next_one(tmp_path: Path, bucket: Any) -> None:
    notes: list[str] = []
    shelf = shelf_of(tmp_path / "run", notes)
    bucket.pipe_file("/bucket/runs", b"a file where a folder belongs")
    save(shelf, 1)
    assert [note.split(" (")[0] for note in notes] == ["The checkpoints could not be copied to memory://bucket/runs"]
    bucket.rm_file("/bucket/runs")
    save(shelf, 2)
    assert steps(bucket, tmp_path / "run") == ["step-00000001", "step-00000002"]
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("name", "at", "why"),
    [
        ("weights-0.safetensors", -1, "not those that were written"),
        ("optimizer-0.safetensors", 9, "not those that were written"),
        ("checkpoint.json", 20, "its checkpoint.json"),
    ],
)
def test_a_copy_that_is_damaged_is_passed_over_and_told_of(
    tmp_path: Path, bucket: Any, name: str, at: int, why: str
) -> None:
    shelf = shelf_of(tmp_path / "run")
    save(shelf, 1)
    save(shelf, 2)
    flip(bucket, f"/bucket/runs/run/checkpoints/step-00000002/{name}", at)
    for address in ("memory://bucket/runs/run", "memory://bucket/runs/run/checkpoints/step-00000002"):
        place, (note,) = fetch(address, tmp_path / "other")
        assert place == tmp_path / "other" / "checkpoints" / "step-00000001"
        assert why in note
        assert note.endswith("step-00000001 is used instead.")
        assert [path.name for path in place.parent.iterdir()] == ["step-00000001"]
    flip(bucket, "/bucket/runs/run/checkpoints/step-00000001/weights-0.safetensors", 0)
    with pytest.raises(UserError, match=r"No good checkpoint is left at memory://bucket/runs/run: .*step-00000001"):
        fetch("memory://bucket/runs/run", tmp_path / "third")


def test_a_copy_that_is_not_whole_is_none(tmp_path: Path, bucket: Any) -> None:
    shelf = shelf_of(tmp_path / "run")
    save(shelf, 1)
    save(shelf, 2)
    bucket.rm_file("/bucket/runs/run/checkpoints/step-00000002/checkpoint.json")
    assert fetch("memory://bucket/runs/run", tmp_path / "other")[0].name == "step-00000001"
    place, (note,) = fetch("memory://bucket/runs/run/checkpoints/step-00000002", tmp_path / "other")
    assert (place.name, "checkpoint.json is missing" in note) == ("step-00000001", True)


def test_a_file_s_address_does(tmp_path: Path) -> None:
    address = f"file://{tmp_path}/copies"
    remote(address, "checkpoint.copy_to").check_writable("checkpoint.copy_to")
    save(shelf_of(tmp_path / "run", address=address), 1)
    assert fetch(f"{address}/run", tmp_path / "other")[0].is_dir()


def test_an_address_that_cannot_do_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"checkpoint.copy_to=foo://x: Protocol not known: foo. Give an address such as"
    ):
        remote("foo://x", "checkpoint.copy_to")
    # Neither of the two is among what Motley needs.
    for address, package in (("s3://bucket/runs", "s3fs"), ("gs://bucket/runs", "gcsfs")):
        with pytest.raises(UserError, match=f"needs the Python package {package}, .* .pip install {package}. "):
            remote(address, "checkpoint.copy_to")
    with pytest.raises(UserError, match=r"There is a password in checkpoint.copy_to") as refused:
        remote("sftp://me:secret@host/runs", "checkpoint.copy_to")
    assert "secret" not in str(refused.value)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"checkpoint.copy_to=file://.* cannot be written"):
        remote(f"file://{tmp_path}/file/copies", "checkpoint.copy_to").check_writable("checkpoint.copy_to")
    with pytest.raises(UserError, match=r"There is no checkpoint at checkpoint.resume=memory://nowhere"):
        fetch("memory://nowhere", tmp_path / "run")
