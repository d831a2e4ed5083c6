"""Which part of a model goes to which device: `python -m jobs.plan CONFIG [key=value ...]`."""

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
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="For example plan.at_most.gpu=1 plan.place.embeddings=cpu."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON on stdout.")] = False,
    picture: Annotated[Path, typer.Option(help="Where to draw it, as PNG.")] = Path("plan.png"),
    again: Annotated[bool, typer.Option("--again", help="Measure what is known from earlier once more.")] = False,
) -> None:
    """Measure the cluster's devices and plan the training of a model over them, as jobs.train would, without training.

    Exit codes: 0 done; 2 something to mend in config, data or cluster, or the model does not fit; 1 a fault.
    """
    settings = load_config(config, overrides or [], packaged=CONFIGS)
    # Imported here so that --help and a wrong config answer at once.
    from rich.console import Console

    from cluster.planning import plan
    from pipelines.report.measured_table import Measuring
    from pipelines.report.plan_picture import save_plan_picture, show_plan

    with Measuring(Console(stderr=True)) as measuring:
        choice = plan(settings, again=again, tell=measuring.tell)
    save_plan_picture(picture, choice)
    if as_json:
        typer.echo(json.dumps(choice.plan.to_json()))
    else:
        # Where nobody looks at a terminal, lines need not fold at its width.
        show_plan(choice.plan, Console(width=None if sys.stdout.isatty() else 120))
        typer.echo(f"picture: {picture}")


if __name__ == "__main__":
    app()
