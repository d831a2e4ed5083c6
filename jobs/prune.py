"""A trained model with fewer or narrower blocks: `python -m jobs.prune MODEL DATA --layers 3 [key=value ...]`."""

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
    data: Annotated[str, typer.Argument(help="A folder with train, test and, better, dev; or hub:ID.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the run.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="How many blocks stay.")] = None,
    width: Annotated[float | None, typer.Option(help="Share of each block's neurons that stays, such as 0.5.")] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="How many heads of each block stay.")] = None,
    weights: Annotated[float | None, typer.Option(help="Share of the weights that stays, such as 0.5.")] = None,
    pattern: Annotated[str, typer.Option(help="any; or 2:4, of four neighbouring weights two stay.")] = "any",
    out: Annotated[Path, typer.Option(help="A folder for the models, the run and the report.")] = Path("pruned"),
    rows: Annotated[int, typer.Option(min=1, help="Of dev, at most, to choose by.")] = 256,
    most_lost: Annotated[float, typer.Option(min=0, help="Points of the score (of 100) that it may lose.")] = 2.0,
    threads: Annotated[int, typer.Option(min=1, help="With how many it is timed: as many as a replica has.")] = 1,
    alias: Annotated[str, typer.Option(help="Of a registered model, what the new version is called.")] = "small",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Leave out blocks, or neurons, heads and single weights in them, that matter least; what is left learns again.

    It learns from data and the whole model in a run of jobs.train, with its keys. The result is accepted if it loses no
    more than --most-lost on test and is faster or smaller on this machine; of a registered model it becomes a new
    version then. The same command again goes on with one that was stopped.

    Exit codes: 0 accepted; 1 not; 2 something to mend in model, data or settings; 130 or 143 stopped.
    """
    given = [f"data.path={json.dumps(data)}", *(overrides or [])]
    settings = from_overrides(given)
    # Imported here so that --help and a wrong setting answer at once.
    from rich.console import Console

    from cluster.driver import Stopped
    from cluster.pruning import prune
    from pipelines.compress.lineage import register_form
    from pipelines.compress.prune import Wanted
    from pipelines.compress.recover import recovery
    from pipelines.compress.show import table_of
    from pipelines.compress.show_pruned import write_report
    from pipelines.inference import registry
    from pipelines.tracking import tracking_uri

    wanted = Wanted(layers, width, heads, weights, pattern)
    store, console = tracking_uri(settings.track), Console(stderr=True)
    (folder, _), name = registry.fetch(model, tracking_uri=store), registry.resolve(model, tracking_uri=store).name
    config = recovery(folder, name, given, keep_zeros=wanted.share is not None)
    try:
        found = prune(config, folder, out, wanted=wanted, most_rows=rows, threads=threads, most_lost=most_lost / 100,
                      tell=console.print)  # fmt: skip
    except Stopped as stopped:
        console.print(f"Stopped. Go on with the same command, with --out {out}.")
        raise SystemExit(128 + stopped.signal) from None
    write_report(out, found)
    console.print(table_of(found.forms))
    if found.accepted and model.startswith("models:"):
        version = register_form(found.forms.verdicts[-1], model, alias=alias, tracking_uri=store)
        console.print(f"it is version {version} of the model, and its @{alias}")
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    raise SystemExit(0 if found.accepted else 1)


if __name__ == "__main__":
    app()
