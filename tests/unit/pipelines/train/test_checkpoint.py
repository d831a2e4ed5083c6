from pathlib import Path

import pytest
import torch

from pipelines.errors import UserError
from pipelines.train.checkpoint import open_checkpoint, save_checkpoint, saved

PARTS = [
    ({"a.weight": torch.arange(4.0)}, {"a.weight/step": torch.tensor(3.0), "a.weight/exp_avg": torch.ones(4)}),
    ({"b.bias": torch.tensor([7.0])}, {"b.bias/exp_avg": torch.zeros(1)}),
]


def write(run: Path, step: int, keep: int = 2) -> Path:
    return save_checkpoint(run, step=step, facts={"seed": 1}, parts=iter(PARTS), keep=keep)


def test_what_was_saved_by_two_stages_is_read_by_name(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path, 3))
    assert (checkpoint.step, checkpoint.facts) == (3, {"seed": 1})
    assert set(dict(checkpoint.weights())) == {"a.weight", "b.bias"}
    assert [name for name, _ in checkpoint.weights(["b.bias"])] == ["b.bias"]
    assert set(dict(checkpoint.moments(["a.weight"]))) == {"a.weight/step", "a.weight/exp_avg"}
    assert torch.equal(dict(checkpoint.weights())["a.weight"], torch.arange(4.0))


def test_a_run_folder_stands_for_its_newest_checkpoint_and_old_ones_go(tmp_path: Path) -> None:
    for step in (1, 2, 30):
        write(tmp_path, step)
    assert [path.name for path in saved(tmp_path)] == ["step-00000002", "step-00000030"]
    assert open_checkpoint(tmp_path).step == 30


def test_a_checkpoint_that_was_not_finished_is_not_seen(tmp_path: Path) -> None:
    write(tmp_path, 1)

    def parts():
        yield PARTS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, step=2, facts={}, parts=parts(), keep=2)
    assert open_checkpoint(tmp_path).step == 1


def test_what_is_no_checkpoint_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no checkpoint at .*nowhere"):
        open_checkpoint(tmp_path / "nowhere")
    (tmp_path / "weights.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(UserError, match=r"is a file; .* Pickled checkpoints .* are never read"):
        open_checkpoint(tmp_path / "weights.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no checkpoint"):
        open_checkpoint(tmp_path / "empty")


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    place = write(tmp_path, 1)
    (place / "weights-0.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(UserError, match=r"weights-0.safetensors is damaged"):
        dict(open_checkpoint(place).weights())
    (place / "weights-0.safetensors").unlink()
    with pytest.raises(UserError, match=r"weights-0.safetensors is missing"):
        open_checkpoint(place)
    (place / "checkpoint.json").write_text("{")
    with pytest.raises(UserError, match=r"its checkpoint.json cannot be read"):
        open_checkpoint(place)
