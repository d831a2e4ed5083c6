"""Choose the texts most worth labelling: `python -m jobs.select MODEL TEXTS ROWS.jsonl [key=value ...]`."""

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
    texts: Annotated[str, typer.Argument(help="A file of texts: a line each (.txt), or rows with a column `text`.")],
    rows: Annotated[Path, typer.Argument(help="Where the chosen texts go, as JSON lines.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example data.columns.text=review.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    actors: Annotated[int, typer.Option(min=1, help="Among which the texts are dealt.")] = 1,
    gpus: Annotated[bool, typer.Option("--gpus", help="Each actor takes a GPU in place of a CPU.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON on stdout.")] = False,
) -> None:
    """Write the texts that a model doubts most, with what it takes them for, for people to label (active learning).

    Exit codes: 0 done; 2 something to mend in model, texts or cluster; 1 a fault.
    """
    settings = from_overrides([f"data.train={texts}", *(overrides or [])])
    # Imported here so that --help and a wrong setting answer at once.
    from cluster.labelling import label_texts
    from pipelines.report.summary import write_whole
    from pipelines.tracking import tracking_uri
    from pipelines.unlabelled.choose import doubtful_ones, lines

    read, guesses = label_texts(
        model, settings.data, tracking_uri=tracking_uri(settings.track), actors=actors, gpus=gpus
    )
    chosen = doubtful_ones(read, guesses, most=most)
    write_whole(rows, lines(chosen.rows))
    found = chosen.to_json() | {"rows": str(rows)}
    typer.echo(
        json.dumps(found)
        if as_json
        else f"The {found['chosen']} of {found['texts']} texts that the model doubts most are in {rows}."
    )


if __name__ == "__main__":
    app()
