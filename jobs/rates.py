"""Find a learning rate: `python -m jobs.rates CONFIG [key=value ...]`."""

from __future__ import annotations

import json
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
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    most: Annotated[float, typer.Option(min=1e-9, help="The highest rate; the lowest is a hundred-thousandth.")] = 0.1,
    steps: Annotated[int, typer.Option(min=20, help="From the lowest to the highest.")] = 100,
    picture: Annotated[Path, typer.Option(help="Where to draw the loss by learning rate.")] = Path("rates.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON on stdout.")] = False,
) -> None:
    """Train some steps with a learning rate that rises, and suggest one from what the loss does; keeps no model.

    Exit codes: 0 done; 2 something to mend in config, data or cluster; 1 a fault.
    """
    settings = load_config(config, overrides or [], packaged=CONFIGS)
    # Imported here so that --help and a wrong config answer at once.
    from cluster.rising import find_rate
    from pipelines.search.rates import draw

    found = find_rate(settings, most=most, steps=steps, tell=lambda line: typer.echo(line, err=True))
    draw(picture, found)
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        typer.echo(
            f"The loss was lowest at a learning rate of {found.lowest:.1e}, and fell most at {found.steepest:.1e} "
            f"({len(found.rates)} steps until it diverged or ended; {picture}). A tenth of the former is safe:\n"
            f"python -m jobs.train {config} train.learning_rate={found.suggested:.1e}"
        )


if __name__ == "__main__":
    app()
