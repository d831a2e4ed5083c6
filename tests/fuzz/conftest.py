"""The folder of each kind of case, and the table of how all of them went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.trial import CASES, SEED, Trial


@pytest.fixture
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trial]:
    made = Trial(tmp_path)
    start = time.perf_counter()
    yield made
    seconds = time.perf_counter() - start
    # Reports carry them to the process that writes the summary.
    for what, (read, refused) in made.counts.items():
        request.node.user_properties.append(("fuzz", [what, read, refused, seconds]))


class _Table:
    def __init__(self) -> None:
        self.rows: list[tuple[str, int, int, float]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self.rows += [tuple(value) for name, value in report.user_properties if name == "fuzz"]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.rows or SEED is None:
            return
        terminalreporter.section(f"{CASES} cases of each kind, FUZZ_SEED={SEED}")
        terminalreporter.write_line(f"{'':24}{'cases':>8}{'read':>8}{'refused':>9}{'seconds':>9}")
        for what, read, refused, seconds in sorted(self.rows):
            terminalreporter.write_line(f"{what:24}{read + refused:8}{read:8}{refused:9}{seconds:9.0f}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Table(), "fuzz-table")
