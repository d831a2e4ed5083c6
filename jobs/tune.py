"""Search for better settings: `python -m jobs.tune CONFIG --search KEY=A..B [key=value ...]`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.exits import user_errors_exit_2
from jobs.train import CONFIGS
from pipelines.config import load_config
from pipelines.search.found import table
from pipelines.search.space import corners, parse_space
from pipelines.search.space import overrides as chosen_as_overrides

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of one in jobs/configs.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For all trials.")] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(help="What to vary: train.learning_rate=1e-5..1e-3, a range; train.batch_size=8,16, a choice."),
    ] = None,
    trials: Annotated[int, typer.Option(min=2, help="How many; the first is the config as it is.")] = 8,
    at_once: Annotated[int, typer.Option(min=1, help="Trials at a time, each with the devices of its plan.")] = 1,
    early: Annotated[bool, typer.Option(help="End trials that do worse than others after as many epochs.")] = True,
    by: Annotated[
        Literal["random", "tpe", "population"],
        typer.Option(help="Draw at random; near what did well (Optuna's TPE); or have the worst go on from the best."),
    ] = "random",
    every: Annotated[int, typer.Option(min=1, help="Epochs between comparisons of a population.")] = 1,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    output: Annotated[Path | None, typer.Option(help="runs/NAME-search-DATE-TIME if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all trials as JSON on stdout.")] = False,
) -> None:
    """Train the config as it is and with other settings, compare scores on dev, and write the best config.

    Every trial is a run of jobs.train on this cluster, and in MLflow a child run of the search's.

    Exit codes: 0 done; 2 something to mend in config, data or cluster; 1 a fault.
    """
    given = overrides or []
    settings = load_config(config, given, packaged=CONFIGS)
    space = parse_space(search or [])
    for corner in corners(space):
        # A key that there is not, or an end that it cannot have, is told before anything is started.
        load_config(config, [*given, *corner], packaged=CONFIGS)
    folder = output or Path("runs") / f"{settings.run.name}-search-{datetime.now():%Y%m%d-%H%M%S}"
    # Imported here so that --help and a wrong config answer at once.
    from cluster.tuning import search as run
    from pipelines.report.summary import write_whole

    found = run(
        settings, space, trials=trials, folder=folder, at_once=at_once, stop_early=early, seed=seed, by=by,
        every=every, tell=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    best = folder / "best.yaml"
    better = load_config(config, [*given, *chosen_as_overrides(found.best.chosen)], packaged=CONFIGS)
    write_whole(best, better.to_yaml())
    if as_json:
        typer.echo(json.dumps({"score_name": found.score_name, "trials": [asdict(one) for one in found.trials]}))
    else:
        typer.echo(table(found))
        if found.best.folder is not None:
            typer.echo(f"best run: {found.best.folder}")
        typer.echo(f"best config: python -m jobs.train {best}")


if __name__ == "__main__":
    app()
