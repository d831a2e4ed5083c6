"""Tables in docs/benchmarks.md: a section between two markers is replaced, the rest stays as it is."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
TITLE = "# Benchmarks\n\nEvery table names the command that makes it; `make bench` runs them all.\n"


def replace_section(path: Path, name: str, body: str) -> None:
    """Write `body` between `<!-- NAME:begin -->` and `<!-- NAME:end -->`, at the end of the file when it is new."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = path.read_text(encoding="utf-8") if path.exists() else TITLE
    section = f"{begin}\n{body.strip()}\n{end}"
    found = text.count(begin), text.count(end)
    if found == (0, 0):
        text = f"{text.rstrip()}\n\n{section}\n"
    elif found == (1, 1) and text.index(begin) < text.index(end):
        text = text[: text.index(begin)] + section + text[text.index(end) + len(end) :]
    else:
        raise ValueError(f"{path} needs {begin} once and {end} once after it; they stand there {found} times.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its first column to the left and the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and the extremes when there are several values: `729 (700-741)`."""
    if len(values) == 1:
        return f"{values[0]:,.{digits}f}"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def machine() -> str:
    """The facts a figure depends on."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        named = None
    cpu = named[1].strip() if named else platform.processor() or platform.machine()
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "ray"))
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores; Python {platform.python_version()}, {packages}"


def shown(text: str) -> str:
    """Words with paths as the docs may name them: relative to the project, or their last part alone."""
    if Path(text).exists():
        return _named(text)
    return re.sub(r"(?:(?<=[\s\[{,=])|^)/[^\s,\]}]+", lambda found: _named(found[0]), text)


def _named(path: str) -> str:
    whole = Path(path).resolve()
    return str(whole.relative_to(ROOT)) if whole.is_relative_to(ROOT) else f"FOLDER/{whole.name}"


def command(file: str) -> str:
    """The command that this process was started with, for the docs."""
    words = [word for given in sys.argv[1:] for word in (given.split("=", 1) if given.startswith("--") else [given])]
    return shlex.join(["python", "-m", f"tests.bench.{Path(file).stem}", *map(shown, words)])
