"""What a data set holds, before it is trained on: `python -m jobs.data CONFIG [key=value ...]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from jobs.train import CONFIGS
from pipelines.config import load_config

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of one in jobs/configs.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example data.path=FOLDER.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON on stdout.")] = False,
    picture: Annotated[Path, typer.Option(help="Where to draw lengths and labels, as PNG.")] = Path("data.png"),
) -> None:
    """Read all splits and say what they hold: rows, lengths, labels, duplicates, what cannot be read, a token budget.

    Nothing is trained, and no Ray is started. Of the data only labels and places are shown.

    Exit codes: 0 a training can use the data; 1 it would refuse it, or a fault; 2 something to mend in the config.
    """
    settings = load_config(config, overrides or [], packaged=CONFIGS)
    # Imported here so that --help and a wrong config answer at once.
    from rich.console import Console

    from pipelines.survey.picture import save_survey_picture
    from pipelines.survey.show import show
    from pipelines.survey.survey import survey

    found = survey(settings)
    save_survey_picture(picture, found)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        # Where nobody looks at a terminal, lines need not fold at its width.
        show(found, Console(width=None if sys.stdout.isatty() else 160))
        typer.echo(f"picture: {picture}")
    raise SystemExit(1 if found.refused else 0)


if __name__ == "__main__":
    app()
