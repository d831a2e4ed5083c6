from pathlib import Path

from typer.testing import CliRunner

from jobs.addresses import REQUIREMENTS, app


def test_addresses_that_are_there_are_left_alone(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.conll").write_text("mine")
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 0
    assert "nothing to do (--force writes them again)" in result.output
    assert (tmp_path / "train.conll").read_text() == "mine"


def test_the_release_is_pinned_by_its_hash() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("usaddress")]
    assert lines == ["usaddress==0.5.16 --hash=sha256:f7e614e2489c159cf85be1b6f86edbfaf329dbeedef4d002a025757afd1ec6c6"]
