"""Serve a registered model over HTTP: `python -m jobs.serve [CONFIG] [key=value ...] [--model URI]`.

On a cluster that runs already: `serve run jobs.serve:build_app model=models:/NAME@champion`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.exits import user_errors_exit_2
from pipelines.config import Config, load_config
from pipelines.errors import UserError

CONFIGS = Path(__file__).parent / "configs"
DEFAULT = "serve"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="For example ner serve.port=9000.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="models:/NAME@ALIAS, models:/NAME/VERSION or a folder.")] = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM.

    The key is MOTLEY_API_KEY, or a new one that is printed once, or those that serve.keys and serve.jwt let in.
    """
    config = _config(arguments or [])
    # Imported here so that --help and a wrong config answer at once.
    from cluster.endpoint import KEY_VARIABLE, Key, how_to_ask, options, running

    key = Key.of(os.environ.get(KEY_VARIABLE)) if config.serve.by_one_key else None
    with running(options(config, model, key=key.text if key else None), config.serve) as url:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        typer.echo(how_to_ask(url, key, config.serve))
        stop.wait()


def build_app(args: dict[str, str]) -> Any:
    """The `serve.Application` for `serve run`: `model=URI`, `config=CONFIG`, and `key=value` as above.

    Raises:
        UserError: MOTLEY_API_KEY is not set where it is what opens (a new key would end up in a log); `serve.tls` is
            set; or as the command.
    """
    from cluster.endpoint import KEY_VARIABLE, options
    from cluster.serving import build

    settings = {"config": DEFAULT, **args}
    config = _config([settings.pop("config"), *(f"{k}={v}" for k, v in settings.items() if k != "model")])
    key = os.environ.get(KEY_VARIABLE)
    if config.serve.tls is not None:
        raise UserError("Ray Serve listens by options of its own here: give it the files of serve.tls in http_options.")
    if config.serve.by_one_key and not key:
        raise UserError(f"Set {KEY_VARIABLE} to the key that requests must bring, or pass serve.auth=none.")
    return build(options(config, settings.get("model"), key=key))


def _config(arguments: Sequence[str]) -> Config:
    """A first argument without `=` is the config."""
    source, overrides = (DEFAULT, arguments) if not arguments or "=" in arguments[0] else (arguments[0], arguments[1:])
    return load_config(source, overrides, packaged=CONFIGS)


if __name__ == "__main__":
    app()
