"""The endpoint's keys: `python -m jobs.keys add NAME`, `list`, `revoke ID`, `rotate ID`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from pipelines.inference import keys
from pipelines.inference.credentials import SCOPES

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

File = Annotated[Path, typer.Option(help="The file of keys.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="What `list` shows; it is also the key's second part.")]
Expires = Annotated[str, typer.Option(help="Such as 90d, 12h, 2w, or never.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON on stdout.")]
FILE = Path("keys.json")


@app.callback()
def main() -> None:
    """Make, list, revoke and rotate the endpoint's keys. The file holds hashes; a key is shown once, when it is made.

    Exit codes: 0 done; 2 something to mend in the command or the file; 1 a fault.
    """


@app.command()
@user_errors_exit_2()
def add(
    name: Annotated[str, typer.Argument(help="Who gets it.")],
    scopes: Annotated[str, typer.Option(help=f"Among {', '.join(SCOPES)}, with commas between.")] = "predict",
    expires: Expires = "90d",
    rate: Annotated[str | None, typer.Option(help="Such as 100/min (or /s, /h, /day); else serve.rate holds.")] = None,
    file: File = FILE,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it."""
    now = keys.now()
    asked = [scope.strip() for scope in scopes.split(",")]
    _shown(*keys.add(file, name, scopes=asked, expires=keys.expiry(expires, now), rate=rate, now=now), as_json)


@app.command("list")
@user_errors_exit_2()
def list_keys(file: File = FILE, as_json: AsJson = False) -> None:
    """Say which keys there are, without what opens."""
    found = keys.read_keys(file).values()
    lines = "\n".join(f"{key.id}  {key.name}: {keys.told(key, keys.now())}" for key in found)
    typer.echo(json.dumps([keys.public(key) for key in found]) if as_json else lines or f"{file} holds no key.")


@app.command()
@user_errors_exit_2()
def revoke(id: Id, file: File = FILE, as_json: AsJson = False) -> None:
    """Take a key away: endpoints that read the file refuse it a second later."""
    gone = keys.revoke(file, id)
    typer.echo(json.dumps(keys.public(gone)) if as_json else f"Revoked the key {gone.id} of {gone.name}.")


@app.command()
@user_errors_exit_2()
def rotate(id: Id, expires: Expires = "90d", file: File = FILE, as_json: AsJson = False) -> None:
    """Give a key a new secret and show it; the old one opens nothing from a second later on."""
    _shown(*keys.rotate(file, id, expires=keys.expiry(expires, keys.now()), now=keys.now()), as_json)


def _shown(key: keys.Key, text: str, as_json: bool) -> None:
    said = f"The key of {key.name} ({keys.told(key, keys.now())}), shown only this once:\n  {text}"
    typer.echo(json.dumps({**keys.public(key), "key": text}) if as_json else said)


if __name__ == "__main__":
    app()
