"""What an endpoint serves, and what is tried: `python -m jobs.versions list|try|promote|rollback|drop NAME`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobs.exits import user_errors_exit_2
from pipelines.config import from_overrides

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The registered model.")]
Settings = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as track.uri=URI.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="Its number.")]
Share = Annotated[float | None, typer.Option(help="Of the requests; left out, it answers none: in the shadow.")]
Chosen = Annotated[str | None, typer.Option(help="Any version; the candidate when left out.")]
Why = Annotated[str, typer.Option(help="Kept with the version that goes, and shown by `list`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON on stdout.")]


@app.callback()
def main() -> None:
    """Say in the registry which version of a model is served; endpoints follow it within seconds, losing no request.

    @champion is served, @challenger is tried beside it, @previous was served before (docs/versions.md).
    Exit codes: 0 done; 2 something to mend in the command or the registry; 1 a fault.
    """


@app.command("list")
@user_errors_exit_2()
def list_versions(name: Name, settings: Settings = None, as_json: AsJson = False) -> None:
    """Show the versions: what they were made of, their scores, and what becomes of them."""
    from pipelines.versions.show import listed

    typer.echo(listed(_registry(name, settings), as_json=as_json))


@app.command("try")
@user_errors_exit_2()
def try_version(name: Name, version: Version, settings: Settings = None, share: Share = None) -> None:
    """Try a version: promoted once it has shown what serve.trial asks (given here, of this trial), else dropped."""
    _registry(name, settings).try_version(version, share=share)
    typer.echo(f"Version {version} of {name} is tried; `list` shows how it does.")


@app.command()
@user_errors_exit_2()
def promote(name: Name, settings: Settings = None, version: Chosen = None) -> None:
    """Serve the candidate, or a version, from now on."""
    typer.echo(f"Version {_registry(name, settings).promote(version)} of {name} is served from now on.")


@app.command()
@user_errors_exit_2()
def rollback(name: Name, settings: Settings = None, why: Why = "by hand") -> None:
    """Serve the previous version again."""
    typer.echo(f"Version {_registry(name, settings).roll_back(why)} of {name} is served again.")


@app.command()
@user_errors_exit_2()
def drop(name: Name, settings: Settings = None, why: Why = "by hand") -> None:
    """End the trial of the candidate."""
    typer.echo(f"Version {_registry(name, settings).give_up(why)} of {name} is no longer tried.")


def _registry(name: str, settings: list[str] | None) -> Any:
    config = from_overrides(settings or [])
    # Imported here so that --help and a wrong setting answer at once.
    from pipelines.versions.registry_view import RegistryView

    return RegistryView.of(name, config)


if __name__ == "__main__":
    app()
