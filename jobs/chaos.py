"""The proof for losses: `python -m jobs.chaos CONFIG [KEY=VALUE ...] --seed S --kills N`."""

from __future__ import annotations

import json
import sys
import tempfile
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
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example train.max_steps=99 plan.stages=2.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of who is killed, and when.")] = 0,
    kills: Annotated[int, typer.Option(min=1, help="How many processes are killed, the driver's among them.")] = 10,
    folder: Annotated[Path | None, typer.Option(help="Keeps both runs; a temporary one if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Train a config twice on a Ray of its own, once while random parts are killed, and compare.

    Stages, data shards, parameter servers and the driver are killed at random moments, also in the middle of a
    checkpoint, of an update, or of a recovery. A killed driver's command is given again.

    Exit codes: 0 weights bitwise equal and every example seen once an epoch; 1 not so; 2 a config that cannot be run.
    """
    settings = load_config(config, overrides or [], packaged=CONFIGS)
    # Imported here so that --help answers at once.
    from rich.console import Console

    from cluster.chaos import attack, train_untouched
    from cluster.chaos_report import make_report, show
    from pipelines.preflight import preflight
    from pipelines.report.journal import seconds_of_steps

    # What cannot work is refused before anything is trained; the runs have folders of their own.
    preflight(settings).folder.release()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="motley-chaos-") as temporary:
        place = (folder or Path(temporary)).absolute()
        place.mkdir(parents=True, exist_ok=True)

        def command(name: str) -> list[str]:
            own = [f"run.output={place / name}", f"track.uri=sqlite:///{place}/mlflow.db", "track.system_metrics=false"]
            return [sys.executable, "-m", "jobs.train", config, *(overrides or []), *own]

        console.print("training untouched")
        seconds = train_untouched(command("untouched"), place / "untouched.log")
        console.print(f"untouched in {seconds:.0f} s; now with {kills} kills")
        chaos, pace = place / "chaos", seconds_of_steps(place / "untouched") / kills
        attacked = attack(command("chaos"), chaos, place, seed=seed, kills=kills, spacing=pace, tell=console.print)
        report = make_report(attacked, seconds, chaos, place / "untouched")
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        show(report, Console())
    raise SystemExit(0 if report.ok else 1)


if __name__ == "__main__":
    app()
