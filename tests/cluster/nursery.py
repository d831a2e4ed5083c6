"""A process that has imported what Ray's workers import, and forks one whenever Ray wants one.

An actor of Motley needs seconds to import torch and transformers, and the tests start hundreds of them. Forked workers
are processes of their own as any others are: with their own memory, sockets and end. That workers which start from
nothing do the same is shown by tests/e2e, which runs the commands as people do.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import forked

ROOT = Path(__file__).parents[2]


@contextmanager
def nursery(folder: Path) -> Iterator[str]:
    """While this lasts there is one, with a socket in `folder`; yields what is Ray's `py_executable` then."""
    path = folder / "nursery"
    environment = os.environ | {
        # With more there would be threads, which a fork leaves behind.
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "tests.cluster.nursery", str(path)]
    # A session of its own: Ctrl-C ends the tests, and their end ends it.
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n", f"the nursery ended with {process.wait(60)}"
        yield shlex.join([sys.executable, "-I", "-S", str(Path(forked.__file__)), str(path)])
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def main() -> None:
    _import_all()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(sys.argv[1])
        door.listen(64)
        # What is there now is of every worker, and no collector need look through it.
        gc.collect()
        gc.freeze()
        # Nobody waits for a worker but whoever asked for it.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        assert len(os.listdir("/proc/self/task")) == threading.active_count() == 1, "a fork would lose threads"
        print("ready", flush=True)
        _serve(door)


def _import_all() -> None:
    """All that actors import but Ray, which reads its settings from the environment when it is imported."""
    import peft
    from transformers import AutoModelForTokenClassification, AutoTokenizer, BertForTokenClassification

    import pipelines.data.shard
    import pipelines.train.executor
    import pipelines.train.parameter_server
    import pipelines.train.stage

    del peft, AutoModelForTokenClassification, AutoTokenizer, BertForTokenClassification, pipelines


def _serve(door: socket.socket) -> None:
    """Until whoever started this ends, or closes its input."""
    import select

    while True:
        readable, _, _ = select.select([door, sys.stdin], [], [])
        if sys.stdin in readable:
            return
        way, _ = door.accept()
        with way:
            head, outputs, _, _ = socket.recv_fds(way, 8, 3)
            order = json.loads(_exactly(way, int.from_bytes(head, "little")))
            if os.fork() == 0:
                door.close()
                _be_worker(outputs, **order)
            for output in outputs:
                os.close(output)


def _exactly(way: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        got += way.recv(count - len(got))
    return got


def _be_worker(outputs: list[int], *, arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """In the child: become the process that was asked for; never returns."""
    code = 1
    try:
        # What ends a worker ends its group.
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, output in enumerate(outputs):
            os.dup2(output, number)
            os.close(output)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
