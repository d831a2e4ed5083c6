"""Whether a model says the same of texts written a little differently: `python -m jobs.robustness MODEL DATA`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from pipelines.config import from_overrides
from pipelines.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    model: Annotated[str, typer.Argument(help="A model's folder, models:/NAME@ALIAS or models:/NAME/VERSION.")],
    data: Annotated[str, typer.Argument(help="A folder with the split's file, a file, or hub:ID.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="For example data.columns.text=review.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    rows: Annotated[int | None, typer.Option(min=1, help="At most so many rows, drawn by the seed.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A perturbation; give it again for another.")] = None,
    rate: Annotated[list[str] | None, typer.Option(help="NAME=SHARE of what can be changed, 0 to 1.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is changed.")] = 0,
    most_flips: Annotated[float, typer.Option(min=0, max=1, help="A larger share of flips is an exit of 1.")] = 1.0,
    examples: Annotated[bool, typer.Option("--examples", help="Keep the worst rows, which are texts.")] = False,
    folder: Annotated[Path, typer.Option(help="Where page.html and report.json go.")] = Path("robustness"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")] = False,
) -> None:
    """Change labelled texts a little, by typos and the like; say how often the answer flips, and what that costs.

    Page and JSON show no text of the data, unless --examples asks for the worst rows.

    Exit codes: 0 done; 1 more flips than --most-flips, or a fault; 2 something to mend in model, data or options.
    """
    where = f"data.{split}={data}" if Path(data).is_file() else f"data.path={data}"
    settings, rates = from_overrides([where, *(overrides or [])]), read_rates(rate or [])
    # Imported here so that --help and a wrong setting answer at once.
    from pipelines.report.summary import write_whole
    from pipelines.robustness.examine import examine
    from pipelines.robustness.page import page
    from pipelines.robustness.show import lines
    from pipelines.tracking import tracking_uri

    store = tracking_uri(settings.track)
    found = examine(
        model, settings.data, split=split, tracking_uri=store, rates=rates, only=only or (), most_rows=rows, seed=seed,
        examples=examples,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(found.to_json(), ensure_ascii=False)
    write_whole(folder / "report.json", told)
    write_whole(folder / "page.html", page(found))
    typer.echo(told if as_json else "\n".join([*lines(found), f"page: {folder / 'page.html'}"]))
    if above := found.above(most_flips):
        typer.echo(f"More than {most_flips:.1%} flip under {', '.join(one.name for one in above)}.", err=True)
        raise SystemExit(1)


def read_rates(given: list[str]) -> dict[str, float]:
    """
    Raises:
        UserError: what is not `NAME=SHARE`.
    """
    try:
        return {name: float(share) for name, share in (one.split("=") for one in given)}
    except ValueError:
        raise UserError(f"--rate takes NAME=SHARE, such as keyboard=0.2, not {' '.join(given)!r}.") from None


if __name__ == "__main__":
    app()
