"""What a model's inputs and outputs are like when all is well: `python -m jobs.baseline MODEL DATA [key=value ...]`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from pipelines.config import from_overrides

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    model: Annotated[str, typer.Argument(help="A model's folder, models:/NAME@ALIAS or models:/NAME/VERSION.")],
    data: Annotated[str, typer.Argument(help="A folder with the split's file, a file, or hub:ID.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example data.columns.text=review.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, dev or test; of train a model is surer than of anything new.")] = (
        "dev"
    ),
    texts: Annotated[bool, typer.Option("--texts", help="The rows are texts alone, without labels.")] = False,
    most: Annotated[int, typer.Option(min=1, help="Rows that are looked at, the first ones.")] = 5000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the baseline as JSON on stdout.")] = False,
) -> None:
    """Write baseline.json into the model's folder: the endpoint compares with it, and tells of drift.

    Exit codes: 0 done; 2 something to mend in model or data; 1 a fault.
    """
    where = f"data.{split}={data}" if Path(data).is_file() else f"data.path={data}"
    settings = from_overrides([where, *(overrides or [])])
    # Imported here so that --help and a wrong setting answer at once.
    from pipelines.data.read import read_split, sources
    from pipelines.data.texts import TEXTS
    from pipelines.inference import registry
    from pipelines.inference.facts import read_facts
    from pipelines.inference.predictors import DEFAULT, load_predictor
    from pipelines.tasks import make_task
    from pipelines.tracking import tracking_uri
    from pipelines.watch import baseline
    from pipelines.watch.asked import inputs_of

    store = tracking_uri(settings.track) if model.startswith("models:") else None
    folder, _ = registry.fetch(model, tracking_uri=store)
    predictor = load_predictor(folder, threads=os.cpu_count() or 1)
    kind = TEXTS if texts else make_task(read_facts(folder).get("task", DEFAULT)).kind
    source = sources(settings.data, needed=split)[split]
    rows = read_split(source, split=split, data=settings.data, kind=kind).rows[:most]
    found = baseline.take(predictor, inputs_of(rows, type(predictor)))
    with TemporaryDirectory() as scratch:
        place = registry.add_file(model, baseline.write(Path(scratch), found), tracking_uri=store)
    typer.echo(json.dumps(asdict(found)) if as_json else f"{found.num_inputs} rows are the baseline, now in {place}")


if __name__ == "__main__":
    app()
