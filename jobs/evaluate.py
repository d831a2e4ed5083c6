"""How good a trained model is: `python -m jobs.evaluate MODEL DATA [key=value ...]`."""

from __future__ import annotations

import json
from pathlib import Path
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
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    against: Annotated[str | None, typer.Option(help="Another model, compared on the same rows.")] = None,
    actors: Annotated[int, typer.Option(min=1, help="Among which the rows are dealt.")] = 1,
    gpus: Annotated[bool, typer.Option("--gpus", help="Each actor takes a GPU in place of a CPU.")] = False,
    page: Annotated[Path, typer.Option(help="Where to write the HTML page.")] = Path("evaluation.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON on stdout.")] = False,
) -> None:
    """Score a model on a split: the task's report, how sure it is, calibration, slices, the worst rows, another model.

    The page and the JSON show rows of the data: the worst ones.

    Exit codes: 0 done; 2 something to mend in model, data or cluster; 1 a fault.
    """
    where = f"data.{split}={data}" if Path(data).is_file() else f"data.path={data}"
    settings = from_overrides([where, *(overrides or [])])
    # Imported here so that --help and a wrong setting answer at once.
    from cluster.evaluating import evaluate_model
    from pipelines.evaluate.page import page as html
    from pipelines.evaluate.show import lines
    from pipelines.report.summary import write_whole
    from pipelines.tracking import tracking_uri

    found = evaluate_model(
        model,
        settings.data,
        split=split,
        against=against,
        tracking_uri=tracking_uri(settings.track),
        actors=actors,
        gpus=gpus,
        token_budget=settings.train.token_budget,
    )
    write_whole(page, html(found))
    typer.echo(json.dumps(found.to_json()) if as_json else "\n".join([*lines(found), f"page: {page}"]))


if __name__ == "__main__":
    app()
