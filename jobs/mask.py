"""Mask the personal data in a text: `python -m jobs.mask [FILE]`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.exits import user_errors_exit_2
from pipelines.errors import UserError

KEY_VARIABLE = "MOTLEY_MASK_KEY"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@user_errors_exit_2()
def main(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="A UTF-8 text; standard input without one.")] = "-",
    kinds: Annotated[str, typer.Option(help="Only these kinds, as email,phone.")] = "",
    regions: Annotated[str, typer.Option(help="Countries whose telephone numbers need no +, as CN,US.")] = "CN,US",
    cautious: Annotated[bool, typer.Option("--cautious", help="Numbers, too, that could be an order's.")] = False,
    reversible: Annotated[bool, typer.Option("--reversible", help=f"Tokens that {KEY_VARIABLE} opens.")] = False,
    unmask: Annotated[bool, typer.Option("--unmask", help=f"Put back what {KEY_VARIABLE} masked.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each line with what was replaced, as JSON.")] = False,
    make_key: Annotated[bool, typer.Option("--new-key", help=f"Print a key for {KEY_VARIABLE}, and end.")] = False,
) -> None:
    """Mask mail addresses, telephone numbers, cards, accounts, national and IP numbers, line by line.

    Exit codes: 0 done; 2 something to mend in the text, the options or the key; 1 a fault.
    """
    # Imported here so that --help answers at once.
    from pipelines.inference.masking.finders import Rules, find
    from pipelines.inference.masking.lines import lines_in
    from pipelines.inference.masking.replacing import mask
    from pipelines.inference.masking.replacing import unmask as put_back
    from pipelines.inference.masking.tokens import new_key, read_key

    if make_key:
        typer.echo(new_key())
        return
    if unmask and (reversible or as_json):
        raise UserError("--unmask prints the text as it was: leave --reversible and --json out.")
    if (reversible or unmask) and KEY_VARIABLE not in os.environ:
        raise UserError(f"{KEY_VARIABLE} holds no key: set it to what `python -m jobs.mask --new-key` prints.")
    key = read_key(os.environ[KEY_VARIABLE]) if reversible or unmask else None
    chosen = tuple(kinds.split(",")) if kinds else None
    rules = Rules(kinds=chosen, regions=tuple(filter(None, regions.split(","))), cautious=cautious)
    for line in lines_in(file):
        if unmask and key is not None:
            typer.echo(put_back(line, key), nl=False)
            continue
        masked = mask(line, find(line, rules), key)
        if as_json:
            typer.echo(json.dumps(asdict(masked) | {"text": masked.text.rstrip("\r\n")}, ensure_ascii=False))
        else:
            typer.echo(masked.text, nl=False)


if __name__ == "__main__":
    app()
