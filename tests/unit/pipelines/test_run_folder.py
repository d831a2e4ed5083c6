from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.run_folder import LOCK, Busy, RunFolder, is_free

HOLD = """
import sys
from pathlib import Path
from pipelines.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(Busy, match=f"process {os.getpid()} on "):
        RunFolder(tmp_path)
    folder.release()
    RunFolder(tmp_path).release()


def test_a_folder_that_a_killed_process_held_is_free(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=f"process {holder.pid} on "):
        RunFolder(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / LOCK).is_file()
    assert is_free(tmp_path)
    RunFolder(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_made_for_nothing_go_again(tmp_path: Path) -> None:
    RunFolder(tmp_path / "a" / "b").release()
    assert list(tmp_path.iterdir()) == []
    folder = RunFolder(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "config.yaml").touch()
    folder.release()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["config.yaml"]


def test_a_folder_that_cannot_be_made_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"The output folder .*run cannot be written \(Not a directory: "):
        RunFolder(tmp_path / "file" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_what_a_run_leaves_that_was_killed_before_it_began_counts_as_nothing(tmp_path: Path) -> None:
    assert is_free(tmp_path / "nowhere")
    assert is_free(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert not is_free(tmp_path)
    (tmp_path / LOCK).touch()
    assert is_free(tmp_path)
    (tmp_path / "checkpoints" / "step-00000001").mkdir()
    assert not is_free(tmp_path)
