"""Smaller and faster forms of a trained model: `python -m jobs.compress MODEL DATA [key=value ...]`."""

from __future__ import annotations

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
    data: Annotated[str, typer.Argument(help="Labelled rows to score on: a folder with the split's file, or a file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example data.columns.text=review.")
    ] = None,
    out: Annotated[Path, typer.Option(help="A folder for the forms, the report and its picture.")] = Path("compressed"),
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    most_lost: Annotated[float, typer.Option(min=0, help="Points of the score (of 100) that a form may lose.")] = 0.5,
    trim_vocabulary: Annotated[
        str | None, typer.Option(metavar="TEXTS", help="Drop sub-words that no row of this file, or folder, uses.")
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(metavar="ROWS", help="File or folder by whose rows OpenVINO's form is scaled; default: train."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="With how many they are timed: as many as a replica has.")] = 1,
    alias: Annotated[str, typer.Option(help="Of a registered model, what the chosen form is called.")] = "small",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Write the model as a graph for ONNX Runtime, in float32 and in int8, in int8 for OpenVINO where that is
    installed, and in bfloat16 where the processor multiplies it; score and time them beside the model.

    A form is accepted if it loses no more than --most-lost and is faster or smaller on this machine. The fastest of
    those is registered as a new version of the model, if that is a registered one; jobs.serve takes it like any other.

    Exit codes: 0 a form was accepted; 1 none was; 2 something to mend in model or data.
    """
    where = f"data.{split}={data}" if Path(data).is_file() else f"data.path={data}"
    settings = from_overrides([where, *(overrides or [])])
    # Imported here so that --help and a wrong setting answer at once.
    from rich.console import Console

    from pipelines.compress.compress import compress
    from pipelines.compress.lineage import register_form
    from pipelines.compress.show import table_of, write_report
    from pipelines.data.sources import sources
    from pipelines.inference import registry
    from pipelines.tracking import tracking_uri

    store, console = tracking_uri(settings.track), Console(stderr=True)
    folder, _ = registry.fetch(model, tracking_uri=store)
    found = compress(
        folder, out, splits=sources(settings.data, needed=split), split=split, data=settings.data, threads=threads,
        most_lost=most_lost / 100, tell=console.print, trim_by=trim_vocabulary, calibrate_by=calibrate,
    )  # fmt: skip
    report = write_report(out, found)
    console.print(table_of(found))
    if found.chosen is not None and model.startswith("models:"):
        version = register_form(found.chosen, model, alias=alias, tracking_uri=store)
        console.print(f"{found.chosen.form.name} is version {version} of it, and its @{alias}")
    if as_json:
        typer.echo(report)
    raise SystemExit(0 if found.chosen is not None else 1)


if __name__ == "__main__":
    app()
