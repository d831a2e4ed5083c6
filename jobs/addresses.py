"""Fetch the demo data: `python -m jobs.addresses FOLDER`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from pipelines.data.addresses import download, is_written, write_addresses

REQUIREMENTS = Path(__file__).parent / "configs" / "sample-data.txt"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    folder: Annotated[Path, typer.Argument(help="Where train.conll, dev.conll and test.conll go.")],
    force: Annotated[bool, typer.Option("--force", help="Write them again when they are there.")] = False,
) -> None:
    """Download addresses that people labelled word by word (MIT) and write them as three CoNLL files."""
    if is_written(folder) and not force:
        typer.echo(f"{folder} already holds the addresses: nothing to do (--force writes them again).")
        return
    with tempfile.TemporaryDirectory() as downloads:
        written = write_addresses(folder, download(REQUIREMENTS, "usaddress", Path(downloads)))
    counts = ", ".join(f"{count} {split}" for split, count in written.num_rows.items())
    typer.echo(f"Wrote {counts} addresses to {folder}; left out {written.num_duplicates} duplicates.")


if __name__ == "__main__":
    app()
