"""Recordings: in files beside the data, as bytes, of several rates; and what is refused."""

import io
import json
import struct
import wave
from pathlib import Path

import datasets
import numpy as np
import pytest

from pipelines.config import DataConfig
from pipelines.data.decode_sound import decode
from pipelines.data.examples import Sound
from pipelines.data.read import read_split
from pipelines.data.sounds import SOUNDS
from pipelines.errors import UserError
from tests.tiny_media import recording


def written(samples: list[int], *, rate: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    raw = io.BytesIO()
    with wave.open(raw, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return raw.getvalue()


def read(path: Path) -> list[Sound]:
    return read_split(str(path), split="train", data=DataConfig(), kind=SOUNDS).rows


def test_a_row_names_a_file_from_the_folder_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "1.wav").write_bytes(written([2**14, -(2**14)] * 400))
    (tmp_path / "train.jsonl").write_text(json.dumps({"audio": "1.wav", "label": "hum"}))
    (sound,) = read(tmp_path / "train.jsonl")
    assert sound.label == "hum"
    assert decode(sound, 16_000).tolist() == [0.5, -0.5] * 400
    (tmp_path / "train.jsonl").write_text(json.dumps({"audio": "../1.wav", "label": "hum"}))
    with pytest.raises(UserError, match=r"names the file '\.\./1\.wav', which is outside of"):
        read(tmp_path / "train.jsonl")


def test_a_row_holds_bytes_as_datasets_writes_them(tmp_path: Path) -> None:
    rows = {"audio": [{"bytes": recording(0, 500), "path": None}], "label": ["hum"]}
    datasets.Dataset.from_dict(rows).to_parquet(str(tmp_path / "a.parquet"))
    assert len(decode(read(tmp_path / "a.parquet")[0], 16_000)) == 500


def test_of_several_channels_the_mean_is_heard() -> None:
    stereo = written([3000, 1000] * 500, channels=2)
    assert decode(Sound(stereo, "x", "row 1"), 16_000).tolist() == [2000 / 2**15] * 500


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_another_rate_is_brought_to_the_models(rate: int) -> None:
    tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    heard = decode(Sound(written(tone.astype(int).tolist(), rate=rate), "x", "row 1"), 16_000)
    true = 8000 / 2**15 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert (len(heard), heard.dtype) == (16_000, np.float32)
    # But for the ends, where a filter has nothing to look at.
    assert np.abs(heard - true)[200:-200].max() < 0.005


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", r"cannot be read \(EOFError\)\. Read are WAV files"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", r"cannot be read"),
        (b"ID3 or fLaC" * 40, r"cannot be read"),
        (written([1] * 800, width=1), r"has 8 bits a sample and 16000 samples a second"),
        (written([1] * 800, rate=2**31 - 1), r"has 16 bits a sample and 2147483647 samples a second"),
        (written([1] * 800, rate=1), r"has 16 bits a sample and 1 samples a second"),
        (written([1] * 300), r"is shorter than a fortieth of a second"),
        (written([]), r"is shorter than a fortieth of a second"),
    ],
)
def test_what_is_no_recording_is_an_error_that_names_the_row(raw: bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"^a\.parquet, row 7: the recording {message}"):
        decode(Sound(raw, "x", "a.parquet, row 7"), 16_000)


def test_a_file_that_is_cut_off_is_an_error_unless_its_length_was_never_known() -> None:
    whole = recording(0, 1000)
    with pytest.raises(UserError, match=r"row 1: the recording is cut off: 849 of 1000 samples are there"):
        decode(Sound(whole[:-301], "x", "row 1"), 16_000)
    # As programs write it that hand a recording on while it lasts.
    streamed = whole.replace(b"data" + struct.pack("<I", 2000), b"data" + struct.pack("<I", 2**32 - 1))
    assert len(decode(Sound(streamed, "x", "row 1"), 16_000)) == 1000
