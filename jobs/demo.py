"""The main job from end to end: `python -m jobs.demo`, or `make demo`."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from jobs.train import CONFIGS, report, run
from pipelines.config import load_config

ADDRESSES = [
    "233 S Wacker Dr. Ste 8400, Chicago, IL 60606",
    "PO Box 1127 Boulder Colorado 80302",
]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example train.epochs=2 plan.stages=1.")
    ] = None,
) -> None:
    """Fetch labelled addresses, fine-tune a small model cut in two, track, register, serve, ask, stop."""
    from jobs.addresses import main as fetch

    config = load_config("addresses", ["serve.port=0", *(overrides or [])], packaged=CONFIGS)
    _title("1. The data: addresses labelled word by word by people")
    if config.data.path == ".data/addresses":
        fetch(Path(config.data.path))
    _title("2. Fine-tune: the model cut into stages, one actor each")
    report(run(config))
    _title("3. Serve models:/addresses@champion and ask it")
    # Imported here so that --help answers at once.
    from cluster.endpoint import options, running
    from pipelines.inference.client import predict_once, wait_until_ready

    key = secrets.token_urlsafe(32)
    with running(options(config, None, key=key), config.serve) as url:
        ready = wait_until_ready(url)
        typer.echo(f"{ready.model} version {ready.version} answers at {url}")
        for text, output in zip(ADDRESSES, predict_once(url, key, ADDRESSES), strict=True):
            typer.echo(f"\nPOST {url}/v1/predict  {json.dumps({'inputs': text})}")
            for entity in output["entities"]:
                typer.echo("  {type:<26} {start:>3}-{end:<3} {text:<14} {score:.3f}".format(**entity))
    typer.echo("\nStopped. Serve it for yourself with: python -m jobs.serve addresses")


def _title(text: str) -> None:
    typer.secho(f"\n{text}", bold=True)


if __name__ == "__main__":
    app()
