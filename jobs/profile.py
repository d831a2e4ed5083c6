"""What each part of a model takes on each type of device: `python -m jobs.profile CONFIG [key=value ...]`."""

from __future__ import annotations

import json
from dataclasses import asdict
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
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example plan.cpus_per_stage=2.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON on stdout.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write everything to this file, as YAML.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure what is known from earlier once more.")] = False,
    correct: Annotated[
        bool,
        typer.Option("--correct", help="Scale what is known to how fast devices are now, by whole steps of the run."),
    ] = False,
) -> None:
    """Measure the model's units on every type of device of the cluster, and the ways between devices.

    Results are kept in $MOTLEY_CACHE/measured (~/.cache/motley/measured), where they may be edited. Nothing else should
    run on the cluster meanwhile.

    Exit codes: 0 done; 2 something to mend in config, data or cluster; 1 a fault.
    """
    settings = load_config(config, overrides or [], packaged=CONFIGS)
    # Imported here so that --help and a wrong config answer at once.
    from rich.console import Console

    from cluster.profiling import profile
    from pipelines.plan.measured_file import to_yaml
    from pipelines.report.measured_table import Measuring, show

    with Measuring(Console(stderr=True)) as measuring:
        measured = profile(settings, again=again, correct=correct, tell=measuring.tell)
    if output is not None:
        output.write_text(to_yaml(measured), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(asdict(measured)))
    else:
        show(measured, Console())


if __name__ == "__main__":
    app()
