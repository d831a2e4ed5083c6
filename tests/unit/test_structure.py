"""The shape of the code: which floor may know which, how long a file may get, what is never used."""

from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.main import JOBS

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("pipelines", "cluster", "jobs")
# What each floor must not import, neither at the top of a module nor inside a function.
FORBIDDEN = {"pipelines": {"ray", "cluster", "jobs", "tests"}, "cluster": {"jobs", "tests"}, "jobs": {"tests"}}
MODULES = {path.relative_to(ROOT).as_posix(): path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))}
# Names that hide a module of the standard library from whoever runs a file of that folder, or that say nothing.
BAD_NAMES = {"types", "queue", "logging", "profile", "select", "copy", "statistics", "utils"}
# Run as `python -m jobs.profile`: nothing looks for modules of the standard library in jobs/.
NAMED_AS_COMMANDS = {"jobs/profile.py", "jobs/select.py"}
# They run code that a file brings along. Models and checkpoints are safetensors and JSON.
PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
GOOD_LENGTH, LONGEST, LONGEST_JOB = 300, 400, 80


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the full name of everything a module imports, wherever in the module."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_downwards_only(name: str) -> None:
    forbidden = FORBIDDEN[name.split("/")[0]]
    upwards = [
        f"{name}:{line} imports {what}" for line, what in imported(MODULES[name]) if what.split(".")[0] in forbidden
    ]
    assert upwards == []


@pytest.mark.parametrize("module", ["pipelines.config", "pipelines.errors", "jobs.main"])
def test_importing_it_loads_neither_torch_nor_ray(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{'torch', 'ray', 'transformers', 'mlflow'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {name: num_lines(path) for name, path in MODULES.items()}
    long = {name: length for name, length in lengths.items() if length > GOOD_LENGTH}
    assert {name: length for name, length in long.items() if length > LONGEST} == {}
    if long:
        warnings.warn(f"longer than {GOOD_LENGTH} lines: {long}", stacklevel=1)


def test_every_job_is_shorter_than_80_lines() -> None:
    jobs = {path.name: num_lines(path) for path in (ROOT / "jobs").glob("*.py") if path.name != "__init__.py"}
    assert {name: length for name, length in jobs.items() if length >= LONGEST_JOB} == {}


def test_the_motley_command_knows_every_job() -> None:
    functions = {
        path.stem: {node.name for node in tree_of(path).body if isinstance(node, ast.FunctionDef)}
        for path in (ROOT / "jobs").glob("*.py")
    }
    assert {job for job, names in functions.items() if "main" in names} == set(JOBS)


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_no_module_has_a_name_that_hides_another_or_says_nothing() -> None:
    named = {name: {path.stem, *path.relative_to(ROOT).parent.parts} for name, path in MODULES.items()}
    assert [name for name, names in named.items() if names & BAD_NAMES and name not in NAMED_AS_COMMANDS] == []


@pytest.mark.parametrize("name", MODULES)
def test_no_pickle_is_ever_read(name: str) -> None:
    path = MODULES[name]
    found = [f"{name}:{line} imports {what}" for line, what in imported(path) if what.split(".")[0] in PICKLES]
    found += [f"{name}:{line} imports {what}" for line, what in imported(path) if what in ("torch.load", "numpy.load")]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            called = f"{node.value.id}.{node.attr}"
            if called in ("torch.load", "np.load", "numpy.load") or node.value.id in PICKLES:
                found.append(f"{name}:{node.lineno} uses {called}")
    assert found == []


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("jobs/")])
def test_only_jobs_print_to_stdout(name: str) -> None:
    """Below the jobs, what people read goes to a console that was chosen, and what operators read to logging."""
    prints = [
        f"{name}:{node.lineno}"
        for node in ast.walk(tree_of(MODULES[name]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if "file" not in {keyword.arg for keyword in node.keywords}
    ]
    assert prints == []
