"""Learn one data set after the other: `python -m jobs.continual CONFIG [key=value ...]`."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from jobs.train import CONFIGS
from pipelines.config import load_config
from pipelines.continual.runs import check_continual

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of one in jobs/configs.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example continual.method=replay.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="runs/NAME-continual-DATE-TIME if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Train on the data sets of continual.sets in turn, and say what is forgotten of the earlier ones.

    A sequence that did not come to its end goes on when the same command comes again with its folder as --output. Each
    set is a run of jobs.train that goes on from the model of the one before, and in MLflow a child run.

    Exit codes: 0 done; 2 something to mend in config, data or cluster; 130 or 143 stopped by Ctrl-C or SIGTERM; 1 a
    fault.
    """
    settings = load_config(config, overrides or [], packaged=CONFIGS)
    check_continual(settings)
    folder = output or Path("runs") / f"{settings.run.name}-continual-{datetime.now():%Y%m%d-%H%M%S}"
    # Imported here so that --help and a wrong config answer at once.
    from rich.console import Console

    from cluster.continual import learn_in_turn
    from cluster.driver import Stopped
    from pipelines.continual.show import table_of

    try:
        found = learn_in_turn(settings, folder=folder, tell=lambda line: typer.echo(line, err=True))
    except Stopped as stopped:
        typer.echo(f"Stopped. Go on with: the same command, with --output {folder}", err=True)
        raise SystemExit(128 + stopped.signal) from None
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        # Where nobody looks at a terminal, lines need not fold at its width.
        Console(width=None if sys.stdout.isatty() else 120).print(table_of(found))
        typer.echo(f"result: {folder / 'continual.json'}; picture: {folder / 'forgetting.png'}")


if __name__ == "__main__":
    app()
