"""The proof for your own model: `python -m jobs.check MODEL [--task TASK] [--stages K]`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    model: Annotated[str, typer.Argument(help="A hub id, a model's folder, a GGUF file, or package:NAME/path.")],
    task: Annotated[
        str | None,
        typer.Option(help="The head to train, for example causal-lm; guessed from config.json when left out."),
    ] = None,
    stages: Annotated[int, typer.Option(min=1, help="How many actors the model is cut over.")] = 2,
    inside: Annotated[
        bool,
        typer.Option("--inside-blocks", help="Cut inside blocks: attention on one stage, feed-forward on the next."),
    ] = False,
    adapter: Annotated[
        str | None,
        typer.Option(help="Train an adapter, such as lora or adalora, next to PEFT in one process."),
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(help="ROLE=cpu or ROLE=gpu, for example --place attention=gpu --place feed-forward=cpu."),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(help="GPUs that a Ray started here is told to have; it may have none, and says so.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Precision of the weights: float64 or float32.")] = "float64",
    steps: Annotated[int, typer.Option(min=1, help="Updates before the weights are compared.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Cut a model over actors, train it next to the plain model, and compare logits, loss, gradients and weights.

    Needs no data and no tokenizer: inputs are made up from the model's configuration.

    Exit codes: 0 equal; 1 different, or a fault; 2 the model cannot be loaded, tried out or cut.
    """
    # Imported here so that --help answers at once.
    from rich.console import Console

    from cluster.checking import check
    from pipelines.check.show import show
    from pipelines.plan.placed import read_place

    where = read_place(place or ())
    report = check(
        model,
        task=task,
        stages=stages,
        dtype=dtype,
        steps=steps,
        inside=inside,
        adapter=adapter,
        place=where,
        gpus=gpus,
    )
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        show(report, Console())
    if report.first is not None:
        typer.echo(f"The cut model differs from the plain one, first in the {report.first}.", err=True)
        raise SystemExit(1)


if __name__ == "__main__":
    app()
