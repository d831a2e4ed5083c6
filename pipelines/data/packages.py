"""Files inside an installed distribution, found without importing it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from pipelines.errors import UserError


def package_path(source: str) -> Path:
    """The place of `DISTRIBUTION/path/inside`, a file or a folder.

    Nothing of the distribution runs: its own list of files says where they are.

    Raises:
        UserError: not of that form, not installed, or nothing is at the path.
    """
    name, _, inside = source.partition("/")
    parts = PurePosixPath(inside).parts
    if not name or not parts or inside.startswith("/") or ".." in parts or "\\" in inside:
        raise UserError(
            f"{source!r} does not name a path in a package. Write DISTRIBUTION/path/inside, without '..' in the path."
        )
    try:
        found = distribution(name)
    except (PackageNotFoundError, ValueError):
        raise UserError(f"The package {name!r} is not installed here. Run `pip install {name}`.") from None
    path = Path(str(found.locate_file(inside)))
    if not path.exists():
        raise UserError(
            f"The installed package {name} {found.version} has no {inside!r}. Correct the path, or install the version "
            "that has it."
        )
    return path
