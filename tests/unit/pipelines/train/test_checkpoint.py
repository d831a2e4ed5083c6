from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from pipelines.errors import UserError
from pipelines.train.checkpoint import open_checkpoint, saved
from pipelines.train.checkpoint_choose import choose, staying
from pipelines.train.checkpoint_write import save_checkpoint, set_score

PARTS = [
    ({"a.weight": torch.arange(4.0)}, {"a.weight/step": torch.tensor(3.0), "a.weight/exp_avg": torch.ones(4)}),
    ({"b.bias": torch.tensor([7.0])}, {"b.bias/exp_avg": torch.zeros(1)}),
]


def write(run: Path, step: int, score: float | None = None) -> Path:
    return save_checkpoint(run, step=step, facts={"seed": 1}, parts=iter(PARTS), score=score)


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def used_instead(run: Path, why: str) -> None:
    """The newest checkpoint of two is found to be damaged, and the one before it is used."""
    older, newer = saved(run)
    for meant in (run, newer):
        chosen = choose(meant)
        assert chosen.checkpoint.folder == older
        (told,) = chosen.passed_over
        assert told.startswith(f"The checkpoint {newer} is damaged: ")
        assert why in told
        assert told.endswith(f" {older} is used instead.")


def test_what_was_saved_by_two_stages_is_read_by_name(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path, 3))
    assert (checkpoint.step, checkpoint.facts) == (3, {"seed": 1})
    assert set(dict(checkpoint.weights())) == {"a.weight", "b.bias"}
    assert [name for name, _ in checkpoint.weights(["b.bias"])] == ["b.bias"]
    assert set(dict(checkpoint.moments(["a.weight"]))) == {"a.weight/step", "a.weight/exp_avg"}
    assert torch.equal(dict(checkpoint.weights())["a.weight"], torch.arange(4.0))
    checkpoint.check(digests=True)


def test_a_run_folder_stands_for_its_newest_checkpoint(tmp_path: Path) -> None:
    for step in (1, 2, 30, 123_456_789):
        write(tmp_path, step)
    assert open_checkpoint(tmp_path).step == 123_456_789
    chosen = choose(tmp_path)
    assert (chosen.checkpoint.step, chosen.passed_over) == (123_456_789, ())


def test_a_checkpoint_that_is_named_is_used_and_not_a_newer_one(tmp_path: Path) -> None:
    first = write(tmp_path, 1)
    write(tmp_path, 2)
    assert choose(first).checkpoint.folder == first


def test_what_is_no_checkpoint_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no checkpoint at .*nowhere"):
        open_checkpoint(tmp_path / "nowhere")
    (tmp_path / "weights.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(UserError, match=r"is a file; .* Pickled checkpoints .* are never read"):
        open_checkpoint(tmp_path / "weights.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no checkpoint"):
        choose(tmp_path / "empty")


# ---- damage


@pytest.mark.parametrize("name", ["weights-0.safetensors", "optimizer-1.safetensors"])
@pytest.mark.parametrize(
    "at", [0, 7, 8, 20, -1, -4], ids=["length", "length's end", "header", "names", "data's end", "data"]
)
def test_a_flipped_bit_in_a_file_is_found_wherever_it_is(tmp_path: Path, name: str, at: int) -> None:
    write(tmp_path, 1)
    path = write(tmp_path, 2) / name
    for bit in range(8):
        flip(path, at, bit)
        used_instead(tmp_path, f"{name} has {path.stat().st_size} bytes, but not those that were written")
        flip(path, at, bit)
    assert choose(tmp_path).checkpoint.step == 2


def test_a_flipped_bit_anywhere_in_the_index_is_found(tmp_path: Path) -> None:
    write(tmp_path, 1)
    path = write(tmp_path, 2, score=0.5) / "checkpoint.json"
    chance = random.Random(0)
    for at in range(path.stat().st_size):
        flip(path, at, bit := chance.randrange(8))
        assert choose(tmp_path, digests=False).checkpoint.step == 1, path.read_bytes()
        flip(path, at, bit)
    flip(path, 0)
    used_instead(tmp_path, "its checkpoint.json is no index of a checkpoint")


@pytest.mark.parametrize("left", [0, 1, 9, -1])
def test_a_file_that_is_cut_short_is_found_without_reading_it(tmp_path: Path, left: int) -> None:
    write(tmp_path, 1)
    path = write(tmp_path, 2) / "weights-1.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:left])
    used_instead(tmp_path, f"weights-1.safetensors has {len(content[:left])} bytes of {len(content)}")
    assert choose(tmp_path, digests=False).checkpoint.step == 1


@pytest.mark.parametrize("name", ["optimizer-0.safetensors", "checkpoint.json"])
def test_a_file_that_is_missing_is_found(tmp_path: Path, name: str) -> None:
    write(tmp_path, 1)
    (write(tmp_path, 2) / name).unlink()
    used_instead(tmp_path, f"{name} is missing")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 2}', b'{"format": 2, "files": 3}'])
def test_an_index_that_is_something_else_is_found(tmp_path: Path, text: bytes) -> None:
    write(tmp_path, 1)
    (write(tmp_path, 2) / "checkpoint.json").write_bytes(text)
    used_instead(tmp_path, "its checkpoint.json")


def test_a_checkpoint_of_another_format_says_so(tmp_path: Path) -> None:
    place = write(tmp_path, 1)
    (place / "checkpoint.json").write_text('{"format": 1, "step": 1, "facts": {}, "files": []}')
    with pytest.raises(UserError, match=r"has format 1, and this version reads 2"):
        open_checkpoint(place)


def test_several_damaged_ones_are_all_named_and_with_none_left_it_is_an_error(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path, step)
    flip(saved(tmp_path)[2] / "weights-0.safetensors", -1)
    (saved(tmp_path)[1] / "weights-0.safetensors").unlink()
    chosen = choose(tmp_path)
    assert chosen.checkpoint.step == 1
    assert ["but not those" in chosen.passed_over[0], "missing" in chosen.passed_over[1]] == [True, True]
    (saved(tmp_path)[0] / "checkpoint.json").write_text("{")
    with pytest.raises(UserError, match=r"No good checkpoint is left: .*step-00000003.*step-00000002.*step-00000001"):
        choose(tmp_path)
    with pytest.raises(UserError, match=r"is damaged: weights-0.safetensors is missing. Resume from another one"):
        open_checkpoint(saved(tmp_path)[1])


# ---- what stays


def test_the_newest_stay_and_the_best() -> None:
    scores = [(1, 0.5), (2, 0.9), (3, None), (4, 0.7), (5, None), (6, 0.6)]
    assert staying(scores, keep=2, keep_best=1) == {2, 5, 6}
    assert staying(scores, keep=1, keep_best=2) == {2, 4, 6}
    assert staying(scores, keep=2, keep_best=0) == {5, 6}
    assert staying([(1, None), (2, None)], keep=1, keep_best=1) == {2}
    assert staying([(1, 0.5), (2, 0.5), (3, 0.5)], keep=1, keep_best=1) == {1, 3}


def test_a_score_that_comes_later_is_kept_and_the_checkpoint_stays_whole(tmp_path: Path) -> None:
    place = write(tmp_path, 1)
    set_score(place, 0.25)
    chosen = choose(tmp_path).checkpoint
    assert chosen.index.score == 0.25
    assert sorted(path.name for path in place.iterdir()) == sorted([*chosen.index.files, "checkpoint.json"])


def test_what_a_run_left_behind_when_it_went_on_from_an_earlier_step_goes(tmp_path: Path) -> None:
    for step in (5, 10, 6):
        write(tmp_path, step)
    assert [path.name for path in saved(tmp_path)] == ["step-00000005", "step-00000006"]
