import io
import tarfile
from pathlib import Path

import pytest

from pipelines.config import DataConfig
from pipelines.data.addresses import (
    download,
    is_written,
    parse_addresses,
    split_rows,
    take_file,
    without_duplicates,
    write_addresses,
)
from pipelines.data.examples import TaggedSentence
from pipelines.data.read import read_split, sources
from pipelines.data.tagged import TAGGED
from pipelines.errors import UserError

XML = """<AddressCollection>
  <AddressString><Number>1</Number> <Street>Main </Street> <Street>St.,</Street> <Place>Rome</Place></AddressString>
  <AddressString><Place>Rome</Place></AddressString>
  <AddressString><Place>Rome</Place></AddressString>
</AddressCollection>"""


def tarball(path: Path, **files: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"usaddress-0.5.16/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def release(path: Path, xml: str = XML) -> Path:
    return tarball(path / "release.tar.gz", **{"training/labeled.xml": xml, "LICENSE": "MIT"})


def test_addresses_become_words_with_iob2_tags() -> None:
    assert parse_addresses(XML.encode())[:2] == [
        TaggedSentence(("1", "Main", "St.,", "Rome"), ("B-Number", "B-Street", "I-Street", "B-Place")),
        TaggedSentence(("Rome",), ("B-Place",)),
    ]


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<A><B>", "not valid XML"),
        ("<A><B><C>x</C> lost</B></A>", "Address 1 .* text without a label"),
        ("<A><B><C>x</C></B><B> <C> </C></B></A>", "Address 2 .* has no words"),
    ],
)
def test_addresses_of_another_form_are_an_error(xml: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_addresses(xml.encode())


def test_an_address_occurs_once_whatever_its_labels() -> None:
    one, other = TaggedSentence(("a",), ("B-X",)), TaggedSentence(("a",), ("B-Y",))
    assert without_duplicates([one, one, other]) == [one]


def test_splits_are_tenths_that_share_no_row_and_ignore_the_order() -> None:
    rows = [TaggedSentence((str(i),), ("B-X",)) for i in range(50)]
    splits = split_rows(rows)
    assert {split: len(part) for split, part in splits.items()} == {"train": 40, "dev": 5, "test": 5}
    assert sorted((row for part in splits.values() for row in part), key=rows.index) == rows
    assert split_rows(rows[::-1]) == splits
    assert split_rows(rows, seed=1) != splits


def test_train_knows_every_label() -> None:
    rows = [TaggedSentence((str(i),), (f"B-{i // 2}",)) for i in range(40)]
    for seed in range(5):
        train = {row.tags for row in split_rows(rows, seed)["train"]}
        assert train == {(f"B-{i}",) for i in range(20)}


def test_written_addresses_read_back(tmp_path: Path) -> None:
    lines = "".join(f"<A><Number>{i}</Number> <Street>Main</Street></A>" for i in [*range(20), 3])
    folder = tmp_path / "new" / "addresses"
    written = write_addresses(folder, release(tmp_path, f"<All>{lines}</All>"))
    assert (written.num_rows, written.num_duplicates) == ({"train": 16, "dev": 2, "test": 2}, 1)
    assert is_written(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["LICENSE", "dev.conll", "test.conll", "train.conll"]
    assert [path.name for path in folder.parent.iterdir()] == ["addresses"]
    data = DataConfig(path=str(folder))
    tables = [read_split(source, split=split, data=data, kind=TAGGED) for split, source in sources(data).items()]
    rows = [row for table in tables for row in table.rows]
    assert sorted(int(row.words[0]) for row in rows) == list(range(20))


def test_writing_again_changes_nothing_and_leaves_other_files_alone(tmp_path: Path) -> None:
    folder = tmp_path / "addresses"
    folder.mkdir()
    (folder / "mine.txt").write_text("kept")
    (folder / "dev.conll").write_text("half of a fi")
    assert not is_written(folder)
    for _ in range(2):
        write_addresses(folder, release(tmp_path))
        assert (folder / "mine.txt").read_text() == "kept"
        assert (folder / "dev.conll").read_text() == ""
        assert is_written(folder)


def test_a_release_without_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.tar\.gz has no training/labeled\.xml"):
        take_file(tarball(tmp_path / "a.tar.gz", **{"other/training/labeled.xml": "x"}), "training/labeled.xml")


def test_a_broken_tarball_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"not a tarball")
    with pytest.raises(UserError, match=r"cannot be read as a tarball"):
        take_file(tmp_path / "a.tar.gz", "LICENSE")


def test_a_download_that_fails_is_an_error_that_says_why(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    # An index that is an empty folder stands for no network: pip answers at once.
    requirements.write_text(f"--no-index\n--find-links {tmp_path}\nusaddress==0.5.16 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(
        UserError, match=r"pip could not download usaddress: No matching distribution found for usaddress"
    ):
        download(requirements, "usaddress", tmp_path)
