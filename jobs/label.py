"""Let a model label texts that it is sure of: `python -m jobs.label MODEL TEXTS ROWS.jsonl [key=value ...]`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from pipelines.config import from_overrides

Model = Annotated[str, typer.Argument(help="A model's folder, models:/NAME@ALIAS or models:/NAME/VERSION.")]
Texts = Annotated[str, typer.Argument(help="A file of texts: a line each (.txt), or rows with a column `text`.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example data.columns.text=review.")
]
Actors = Annotated[int, typer.Option(min=1, help="Among which the texts are dealt.")]
Gpus = Annotated[bool, typer.Option("--gpus", help="Each actor takes a GPU in place of a CPU.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the counts as JSON on stdout.")]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    model: Model,
    texts: Texts,
    rows: Annotated[Path, typer.Argument(help="Where the labelled rows go, as JSON lines.")],
    overrides: Overrides = None,
    at_least: Annotated[float, typer.Option(min=0, max=1, help="How probable its least sure label must be.")] = 0.95,
    beside: Annotated[Path | None, typer.Option(help="Rows that people labelled (JSON lines), written first.")] = None,
    actors: Actors = 1,
    gpus: Gpus = False,
    as_json: AsJson = False,
) -> None:
    """Write the texts that a model is sure of as training rows (self-training), then train with data.train=ROWS.

    Exit codes: 0 done; 2 something to mend in model, texts or cluster; 1 a fault.
    """
    settings = from_overrides([f"data.train={texts}", *(overrides or [])])
    people = "" if beside is None else read_text(beside)
    # Imported here so that --help and a wrong setting answer at once.
    from cluster.labelling import label_texts
    from pipelines.report.summary import write_whole
    from pipelines.tracking import tracking_uri
    from pipelines.unlabelled.choose import lines, sure_ones

    read, guesses = label_texts(
        model, settings.data, tracking_uri=tracking_uri(settings.track), actors=actors, gpus=gpus
    )
    chosen = sure_ones(read, guesses, at_least=at_least)
    write_whole(rows, people + lines(chosen.rows))
    found = chosen.to_json() | {"rows": str(rows)}
    typer.echo(json.dumps(found) if as_json else _told(found, at_least))


def read_text(path: Path) -> str:
    """Whole, with an end of line at its end."""
    from pipelines.data.textfile import existing

    text = existing(str(path)).read_text(encoding="utf-8")
    return text if text.endswith("\n") or not text else text + "\n"


def _told(found: dict[str, object], at_least: float) -> str:
    labels = found["labels"]
    assert isinstance(labels, dict)
    counts = ", ".join(f"{label} {count}" for label, count in labels.items()) or "none"
    return (
        f"{found['chosen']} of {found['texts']} texts are labelled with a probability of {at_least:g} or more "
        f"({found['repeated']} empty or repeated): {counts}\npython -m jobs.train ... data.train={found['rows']}"
    )


if __name__ == "__main__":
    app()
