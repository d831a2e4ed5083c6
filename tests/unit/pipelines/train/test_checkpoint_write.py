"""What is left when a writer is killed, the disk is full, or the folder cannot be written."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from pipelines.checkpoint_settings import CheckpointConfig
from pipelines.errors import UserError
from pipelines.train.checkpoint import open_checkpoint, saved
from pipelines.train.checkpoint_choose import choose
from pipelines.train.checkpoint_write import save_checkpoint
from pipelines.train.shelf import Shelf

WRITES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
"""What Python tells of before it changes the disk."""


def write(run: Path, step: int, value: float = 0.0, *, size: int = 4, pieces: int = 2) -> Path:
    parts = (({f"p{n}": torch.full((size,), value)}, {f"p{n}/exp_avg": torch.ones(size)}) for n in range(pieces))
    return save_checkpoint(run, step=step, facts={"seed": 1}, parts=parts)


def value(run: Path) -> float:
    """What the newest checkpoint was written with; that it is good is checked on the way."""
    chosen = choose(run)
    assert chosen.passed_over == ()
    return dict(chosen.checkpoint.weights())["p0"][0].item()


def in_child(work: Callable[[], object]) -> tuple[int, str]:
    """Do `work` in a process of its own; returns how it ended (a signal's number below 0), and what it returned."""
    read, written = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(written, str(work()).encode())
        except BaseException as error:
            os.write(written, repr(error).encode())
            os._exit(1)
        os._exit(0)
    os.close(written)
    with os.fdopen(read) as file:
        told = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told


def killed_at(count: int, run: Path, work: Callable[[], object]) -> bool:
    """Do `work` in a process that is killed before it touches the disk below `run` for the `count`-th time.

    Returns:
        Whether it came that far.
    """
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        # rmtree goes by handles of folders and names in them.
        if event in WRITES and (str(arguments[0]).startswith(str(run)) or event in ("os.remove", "os.rmdir")):
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    def hooked() -> None:
        sys.addaudithook(hook)
        work()

    code, told = in_child(hooked)
    assert code in (0, -signal.SIGKILL), told
    return code != 0


def test_wherever_a_writer_is_killed_the_last_good_checkpoint_is_found(tmp_path: Path) -> None:
    values = []
    for count in range(1000):
        run = tmp_path / f"run-{count}"
        write(run, 1, 1.0)
        killed = killed_at(count, run, lambda run=run: write(run, 2, 2.0))
        values.append(value(run))
        # The next save clears up.
        write(run, 3, 3.0)
        names = sorted(path.name for path in (run / "checkpoints").iterdir())
        assert names in (["step-00000001", "step-00000003"], [f"step-0000000{n}" for n in (1, 2, 3)])
        assert value(run) == 3.0
        if not killed:
            break
    assert len(values) >= 8
    assert values == sorted(values)
    assert values[-1] == 2.0


def test_wherever_a_writer_is_killed_that_replaces_a_checkpoint_the_old_or_the_new_one_is_found(tmp_path: Path) -> None:
    values = []
    for count in range(1000):
        run = tmp_path / f"run-{count}"
        write(run, 1, 1.0)
        killed = killed_at(count, run, lambda run=run: write(run, 1, 2.0))
        values.append(value(run))
        write(run, 1, 3.0)
        assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000001"]
        assert value(run) == 3.0
        if not killed:
            break
    assert values == sorted(values)
    assert (values[0], values[-1]) == (1.0, 2.0)


def test_wherever_a_process_is_killed_that_removes_old_checkpoints_none_is_half_there(tmp_path: Path) -> None:
    for count in range(1000):
        run = tmp_path / f"run-{count}"
        for step in (1, 2, 3):
            write(run, step, float(step))
        shelf = Shelf(run, CheckpointConfig(keep=1, keep_best=0), print)
        killed = killed_at(count, run, shelf.sort_out)
        for left in saved(run):
            open_checkpoint(left).check(digests=True)
        assert value(run) == 3.0
        shelf.save(step=4, facts={}, parts=[], score=None)
        assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000004"]
        if not killed:
            break


def test_what_ends_the_writing_leaves_nothing_half_written(tmp_path: Path) -> None:
    write(tmp_path, 1, 1.0)

    def parts() -> Iterator[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
        yield {"a": torch.ones(1)}, {}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, step=2, facts={}, parts=parts())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


# ---- no room


def refused(run: Path, why: str, **sizes: int) -> None:
    with pytest.raises(UserError, match=f"The checkpoint of step 2 could not be saved: .* cannot be written .{why}"):
        write(run, 2, 2.0, **sizes)
    assert value(run) == 1.0
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000001"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a file system can be mounted by root only; the limit of a file's size is tested anyway")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_says_so_and_the_last_checkpoint_stays(small_disk: Path) -> None:
    run = small_disk / "run"
    write(run, 1, 1.0)
    refused(run, "No space left on device", size=20_000)
    # In whatever file the disk ends, and with room again it works.
    for pieces in range(1, 12):
        refused(run, "No space left on device", size=70_000 // pieces, pieces=pieces)
    write(run, 2, 2.0)
    assert value(run) == 2.0


def test_a_disk_that_is_mounted_read_only_says_so(small_disk: Path) -> None:
    run = small_disk / "run"
    write(run, 1, 1.0)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(run, "Read-only file system")


def test_a_file_that_may_not_grow_as_long_says_so_and_names_the_last_checkpoint(tmp_path: Path) -> None:
    first = write(tmp_path, 1, 1.0)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        write(tmp_path, 2, 2.0, size=50_000)

    code, told = in_child(limited)
    assert code == 1
    assert "UserError" in told
    assert "weights-0.safetensors cannot be written (File too large)" in told
    assert f"The last good checkpoint is still there: {first}" in told
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    assert value(tmp_path) == 1.0


def test_a_folder_in_which_nothing_can_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    # Not even root makes a folder below a file.
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\). There is no checkpoint before it"):
        write(tmp_path / "file" / "run", 1)
    write(tmp_path, 1, 1.0)
    (tmp_path / "checkpoints" / ".step-00000002.writing").touch()
    with pytest.raises(UserError, match=r"The last good checkpoint is still there: .*step-00000001"):
        write(tmp_path, 2)
    assert value(tmp_path) == 1.0
