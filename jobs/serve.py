"""Serve a registered model over HTTP: `python -m jobs.serve [CONFIG] [key=value ...] [--model URI]`.

On a cluster that runs already: `serve run jobs.serve:build_app model=models:/NAME@champion`.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.exits import user_errors_exit_2
from pipelines.config import Config, load_config
from pipelines.errors import UserError

if TYPE_CHECKING:
    from ray import serve

CONFIGS = Path(__file__).parent / "configs"
DEFAULT = "serve"

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
@user_errors_exit_2()
def main(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="For example ner serve.port=9000.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="models:/NAME@ALIAS, models:/NAME/VERSION or a folder.")] = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. The key is MOTLEY_API_KEY, or a new one that is printed."""
    config = _config(arguments or [])
    # Imported here so that --help and a wrong config answer at once.
    from cluster.serving import ServedModel

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ServedModel.start(config, model) as served:
        typer.echo(served.how_to_ask())
        served.wait()


def build_app(args: dict[str, str]) -> serve.Application:
    """The builder for `serve run`: `model=URI`, `config=CONFIG` and `key=value` as on the command line.

    Raises:
        UserError: MOTLEY_API_KEY is not set (a new key would end up in a log); or as `load_config`.
    """
    from cluster.serving import application

    settings = dict(args)
    model = settings.pop("model", None)
    config = settings.pop("config", DEFAULT)
    return application(_config([config, *(f"{key}={value}" for key, value in settings.items())]), model)
