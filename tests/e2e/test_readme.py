"""The README's commands: marked blocks run as they stand, all others must name what exists.

A block marked `<!-- test: NAME -->` runs in a copy of the project; NAME is one of RUN below. The commands of every bash
block are taken apart: jobs, options, keys, files and make's targets must be there.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
RUN = ("train", "serve", "ask")
SECONDS = 240
README_ADDRESS = "127.0.0.1:8000"
# Programs whose arguments are not looked at, but for files.
OTHER_PROGRAMS = {"curl", "export", "source", "ray", "mlflow"}
OVERRIDE = re.compile(r"[a-z]+(\.[a-z_]+)?=.*")


@dataclass(frozen=True, slots=True)
class Block:
    line: int
    name: str | None
    text: str

    def commands(self) -> list[list[str]]:
        """Its lines as a shell would cut them, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks() -> list[Block]:
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(r"(?:<!-- test: (?P<name>[\w-]+) -->\n)?```bash\n(?P<text>.*?)```", re.DOTALL)
    return [Block(text.count("\n", 0, m.start()) + 1, m["name"], m["text"]) for m in pattern.finditer(text)]


COMMANDS = [command for block in blocks() for command in block.commands()]


# ---- what the commands name


def problems(command: Sequence[str]) -> list[str]:
    """What a command names that does not exist."""
    words = [word for i, word in enumerate(command) if "=" not in word or i > 0]
    match words:
        case ["make", *targets]:
            return [f"there is no target {target}" for target in targets if target not in make_targets()]
        case ["python", "-m", module, *arguments] if module.startswith("jobs."):
            return job_problems(module.removeprefix("jobs."), arguments)
        case ["motley", job, *arguments]:
            return job_problems(job, arguments)
        case ["serve", "run", application, *arguments]:
            return application_problems(application) + override_problems(arguments, also={"model", "config"})
        case ["ray", "job", "submit", *arguments]:
            return problems(arguments[arguments.index("--") + 1 :])
        case [program, *arguments] if program in OTHER_PROGRAMS:
            return file_problems(arguments)
    return [f"nothing here can check {shlex.join(command)}"]


def job_problems(job: str, arguments: Sequence[str]) -> list[str]:
    if not (ROOT / "jobs" / f"{job}.py").is_file():
        return [f"there is no job {job}"]
    options = [argument for argument in arguments if argument.startswith("-")]
    missing = [f"{job} has no option {option}" for option in options if option not in help_of(job)]
    return missing + (override_problems(arguments) if job in ("train", "serve") else [])


def override_problems(arguments: Sequence[str], also: Collection[str] = ()) -> list[str]:
    """Read the config with the overrides as the job would."""
    from pipelines.config import load_config
    from pipelines.errors import UserError

    overrides = [argument for argument in arguments if OVERRIDE.fullmatch(argument)]
    overrides = [override for override in overrides if override.split("=")[0] not in also]
    configs = [argument for argument in arguments if "=" not in argument and not argument.startswith("-")]
    try:
        load_config(configs[0] if configs else "ner", overrides, packaged=ROOT / "jobs" / "configs")
    except UserError as error:
        return [str(error)]
    return []


def application_problems(application: str) -> list[str]:
    module, _, function = application.partition(":")
    path = ROOT / f"{module.replace('.', '/')}.py"
    defined = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return [] if function in defined else [f"{module} has no {function}"]


def file_problems(arguments: Sequence[str]) -> list[str]:
    files = [argument for argument in arguments if re.fullmatch(r"[\w./-]+\.(yaml|txt|py|toml)", argument)]
    return [f"there is no file {file}" for file in files if not (ROOT / file).is_file()]


@cache
def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def help_of(job: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", f"jobs.{job}", "--help"],
        cwd=ROOT,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200", "TERMINAL_WIDTH": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(re.findall(r"--?[a-z][a-z-]*", done.stdout))


@pytest.mark.parametrize("command", COMMANDS, ids=shlex.join)
def test_a_command_names_what_exists(command: list[str]) -> None:
    assert problems(command) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("make demoo", "no target demoo"),
        ("python -m jobs.trian addresses", "no job trian"),
        ("motley trian addresses", "no job trian"),
        ("python -m jobs.train adresses", "no config 'adresses'"),
        ("python -m jobs.train addresses train.epoch=3", "'train.epochs'"),
        ("python -m jobs.train addresses train.epochs=three", "'train.epochs' is 'three'"),
        ("python -m jobs.train addresses --jsn", "no option --jsn"),
        ("ray job submit --working-dir . -- python -m jobs.train ner plan.stage=2", "'plan.stages'"),
        ("serve run jobs.serve:build model=x", "no build"),
        ("ray up ray_clusters.yaml", "no file ray_clusters.yaml"),
        ("frobnicate", "nothing here can check"),
    ],
)
def test_a_wrong_command_would_be_found(wrong: str, said: str) -> None:
    assert said in " ".join(problems(shlex.split(wrong)))


def test_the_blocks_that_run_are_the_known_ones() -> None:
    assert sorted(block.name for block in blocks() if block.name) == sorted(RUN)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_in_the_text_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    quoted = re.findall(r"`((?:pipelines|cluster|jobs|tests|docs)/[\w./-]*|[\w-]+\.(?:yaml|lock|toml))`", text)
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    written_by_a_run = {"config.yaml"}
    assert [path for path in {*quoted, *linked} - written_by_a_run if not (ROOT / path).exists()] == []


def test_the_tree_shows_what_exists() -> None:
    text = README.read_text(encoding="utf-8")
    tree = text.split("<!-- tree -->\n```text\n")[1].split("```")[0]
    paths = [line.split()[0] for line in tree.splitlines()]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_first_screen_is_one_sentence_and_the_two_commands() -> None:
    first = README.read_text(encoding="utf-8").splitlines()[:12]
    assert first[0] == "# Motley"
    assert first[2].count(". ") == 0
    assert any(line.startswith("make demo") for line in first)
    assert any(line.startswith("make test") for line in first)


# ---- the blocks that run, in the order in which a reader runs them


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project as a fresh clone would be, with what is not committed yet."""
    copy = tmp_path_factory.mktemp("readme")
    for folder in ("pipelines", "cluster", "jobs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def environment(project: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RAY_", "MOTLEY_"))}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "MOTLEY_API_KEY": "a-key-for-this-test",
    }


def text_of(name: str, port: int = 0) -> str:
    """A block as it stands in the README, but for the port, which may be taken here."""
    (block,) = (block for block in blocks() if block.name == name)
    text = re.sub(r"^(python -m jobs\.serve [\w.=-]+)", rf"\1 serve.port={port}", block.text, flags=re.MULTILINE)
    return text.replace(README_ADDRESS, f"127.0.0.1:{port}")


@contextmanager
def started(text: str, project: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A block in a shell of its own, which ends with the `with`, and all it started with it."""
    with log.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=project,
            env=environment(project),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield shell
    finally:
        with_all(shell, signal.SIGTERM)
        try:
            shell.wait(60)
        except subprocess.TimeoutExpired:
            with_all(shell, signal.SIGKILL)
            shell.wait(10)


def with_all(shell: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if shell.poll() is None:
        os.killpg(shell.pid, number)


def run(text: str, project: Path, log: Path) -> str:
    with started(text, project, log) as shell:
        code = shell.wait(SECONDS)
    output = log.read_text(encoding="utf-8", errors="replace")
    assert code == 0, output[-4000:]
    return output


@pytest.fixture(scope="module")
def trained(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run(text_of("train"), project, tmp_path_factory.mktemp("logs") / "train.log")
    return project


@pytest.mark.timeout(SECONDS + 60)
def test_the_training_commands_leave_a_model_and_a_summary(trained: Path) -> None:
    (folder,) = (trained / "runs").glob("addresses-*")
    assert (folder / "summary.json").is_file()
    assert (folder / "config.yaml").is_file()
    assert (folder / "model" / "model.safetensors").is_file()
    assert any((folder / "checkpoints").iterdir())


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README asks with curl")
@pytest.mark.timeout(2 * SECONDS)
def test_the_serving_commands_answer_a_request(trained: Path, tmp_path: Path) -> None:
    port = free_port()
    with started(text_of("serve", port), trained, tmp_path / "serve.log") as server:
        wait_for_health(server, port, tmp_path / "serve.log")
        answer = run(text_of("ask", port), trained, tmp_path / "ask.log")
    assert '"model":"addresses"' in answer
    assert '"outputs":{"entities":[' in answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_health(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-4000:]
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"no health after 120 seconds: {log.read_text(encoding='utf-8', errors='replace')[-4000:]}")
