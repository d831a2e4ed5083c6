"""Images: in files beside the data, as bytes, as pixels; and what is refused."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from pipelines.config import DataConfig
from pipelines.data.decode_image import decode
from pipelines.data.examples import Picture
from pipelines.data.images import IMAGES
from pipelines.data.read import read_split
from pipelines.errors import UserError

RED = np.full((2, 3, 3), (255, 0, 0), np.uint8)


def png(values: Any = RED) -> bytes:
    raw = io.BytesIO()
    Image.fromarray(values).save(raw, "PNG")
    return raw.getvalue()


def read(path: Path, **settings: Any) -> list[Picture]:
    return read_split(str(path), split="train", data=DataConfig.model_validate(settings), kind=IMAGES).rows


def lines(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_names_a_file_from_the_folder_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "1.png").write_bytes(png())
    for row in ({"image": "red/1.png"}, {"image": {"path": "red/1.png", "bytes": None}}, {"file_name": "red/1.png"}):
        (picture,) = read(lines(tmp_path / "train.jsonl", row | {"label": "red"}))
        assert picture.label == "red"
        assert np.asarray(decode(picture)).tolist() == RED.tolist()


def test_a_row_holds_bytes_as_datasets_writes_them(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["blue", "red"])})
    rows = {"image": [{"bytes": png(), "path": "somewhere.png"}], "label": [1]}
    data = datasets.Dataset.from_dict(rows, features=features)
    data.to_parquet(str(tmp_path / "a.parquet"))
    data.save_to_disk(str(tmp_path / "saved"))
    for path in (tmp_path / "a.parquet", tmp_path / "saved"):
        (picture,) = read(path)
        assert (picture.label, np.asarray(decode(picture)).tolist()) == ("red", RED.tolist())


def test_a_row_holds_pixels(tmp_path: Path) -> None:
    grey = [[0, 255], [7, 9]]
    (picture,) = read(lines(tmp_path / "a.jsonl", {"image": grey, "label": 3}))
    assert np.asarray(decode(picture)).tolist() == [[[value] * 3 for value in row] for row in grey]
    (tmp_path / "a.csv").write_text('pixels,label\n"[[0, 255], [7, 9]]",3\n')
    assert np.array_equal(read(tmp_path / "a.csv")[0].source, picture.source)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "link/secret.png", "in/../../secret.png"])
def test_nothing_outside_of_the_datas_folder_is_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(png())
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"line 1 names the file .* which is outside of .*Nothing else is read"):
        read(lines(folder / "a.jsonl", {"image": name, "label": "x"}))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("no.png", r"line 1: there is no file 'no\.png' in the folder"),
        ("\0", r"line 1: there is no file"),
        ("a" * 300, r"line 1: there is no file"),
        ("", r"line 1: found '' \(str\) where an image belongs.*data\.columns\.image"),
        ({"path": None}, r"line 1: found .* \(dict\) where an image belongs"),
        (5, r"line 1: found '5' \(int\) where an image belongs"),
        ([[1, 2], [3]], r"line 1: the image is the list .* which is no image"),
        ([[256]], "whole numbers from 0 to 255"),
        ([[-1]], "whole numbers from 0 to 255"),
        ([[0.5]], "whole numbers from 0 to 255"),
        ([[float("nan")]], "whole numbers from 0 to 255"),
        ([[10**400]], "whole numbers from 0 to 255"),
        ([[["x"] * 3]], "whole numbers from 0 to 255"),
        ([], "whole numbers from 0 to 255"),
    ],
)
def test_what_is_no_image_is_an_error_that_names_the_row(tmp_path: Path, image: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(lines(tmp_path / "a.jsonl", {"image": image, "label": "x"}))


def test_rows_that_no_file_holds_cannot_name_files(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png())
    datasets.Dataset.from_dict({"image": ["1.png"], "label": ["x"]}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(UserError, match=r"saved, row 1 names the file '1\.png' in place of an image"):
        read(tmp_path / "saved")


def test_a_damaged_image_is_an_error_that_names_it() -> None:
    whole = png(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    for raw in (b"", b"no image", whole[:30], whole[:300], whole[:60] + b"\xff" * 40 + whole[100:]):
        with pytest.raises(UserError, match=r"^a\.parquet, row 7: the image cannot be read \(.*\)\. Formats are PNG"):
            decode(Picture(raw, "x", "a.parquet, row 7"))


def test_formats_that_do_more_than_hold_pixels_are_not_opened() -> None:
    raw = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(UserError, match="cannot be read"):
        decode(Picture(raw, "x", "row 1"))


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_an_image_of_too_many_pixels_is_refused_before_it_takes_memory(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")))
    with pytest.raises(UserError, match=r"a\.jsonl, line 2, bomb\.png: the image has more than \d+ pixels"):
        decode(Picture(bomb, "x", "a.jsonl, line 2"))
