"""Choose the texts most worth labelling: `python -m jobs.select MODEL TEXTS ROWS.jsonl [key=value ...]`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from jobs.label import Actors, AsJson, Gpus, Model, Overrides, Texts
from pipelines.config import from_overrides

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    model: Model,
    texts: Texts,
    rows: Annotated[Path, typer.Argument(help="Where the chosen texts go, as JSON lines.")],
    overrides: Overrides = None,
    most: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    actors: Actors = 1,
    gpus: Gpus = False,
    as_json: AsJson = False,
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
