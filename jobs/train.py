"""The main job: `python -m jobs.train CONFIG [key=value ...]`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.exits import user_errors_exit_2
from pipelines.config import Config, load_config
from pipelines.report.energy import sentence

CONFIGS = Path(__file__).parent / "configs"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of one in jobs/configs.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example train.epochs=3 plan.stages=4.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole summary as JSON on stdout.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")] = False,
) -> None:
    """Fine-tune a model cut over several actors, track the run in MLflow, and register the result.

    The same command again goes on with a run that did not come to its end; checkpoint.resume=never begins afresh.

    Exit codes: 0 done; 2 something to mend in config, data, cluster or disk; 130 or 143 stopped by Ctrl-C or
    SIGTERM after saving a checkpoint; 1 a fault.
    """
    settings = load_config(config, overrides or [], packaged=CONFIGS)
    if dry_run:
        typer.echo(settings.to_yaml(), nl=False)
        return
    summary = run(settings)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        report(summary)


def run(settings: Config) -> dict[str, Any]:
    """Train and return the summary; a run that is stopped ends the process with 128 + the signal's number."""
    # Imported here so that --help and a wrong config answer at once.
    from cluster.driver import Stopped
    from cluster.training import train

    try:
        return train(settings)
    except Stopped as stopped:
        same = "" if settings.checkpoint.resume == "never" else "the same command, or with "
        typer.echo(f"Stopped. Go on with: {same}checkpoint.resume={stopped.checkpoint}", err=True)
        raise SystemExit(128 + stopped.signal) from None


def report(summary: Mapping[str, Any]) -> None:
    """Say where everything is."""
    model, speed = summary["model"], summary["throughput"]["useful_tokens_per_second"]
    typer.echo(f"run folder   {summary['folder']}")
    typer.echo(f"speed        {speed:,.0f} useful tokens/s, {summary['seconds']:.0f} s in all")
    if "energy" in summary:
        typer.echo(f"energy       {sentence(summary['energy'])}")
    typer.echo(f"MLflow run   {summary['mlflow']['run_id']}; open it: {summary['how_to_open']}")
    typer.echo(f"registered   {model['name']} version {model['version']}, alias {model['alias']}")


if __name__ == "__main__":
    app()
