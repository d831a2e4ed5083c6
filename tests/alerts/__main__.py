"""Make the cause of every alert rule, and wait until Alertmanager's webhook tells of it; a quarter of an hour at most.

python -m tests.alerts [--only MotleyDown MotleyDrift]

Everything is real but the model: the endpoint's interface and its watch, HTTP requests, Prometheus, Alertmanager, the
shipped rules. A minute of the rules is a second here. Needs prometheus and alertmanager on the PATH.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from pipelines.inference import keys
from tests.alerts.causes import BACKGROUND, CAUSES, Made, World
from tests.alerts.endpoint import Endpoint
from tests.alerts.servers import FACTOR, SHIPPED, Monitoring, Receiver, free_port
from tests.bench.tables import replace_section, table

MONITORING = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"
WARM = 20.0
"""Seconds of usual traffic before the first cause: something to compare with."""
LONGEST = 120.0
"""Seconds that a cause may take to arrive."""


def rules() -> list[str]:
    groups = yaml.safe_load((SHIPPED / "alerts.yaml").read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=rules(), default=None)
    only = parser.parse_args().only
    missing = sorted(set(rules()) ^ set(CAUSES))
    assert not missing, f"each rule has a cause, and each cause a rule: {missing}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        receiver = Receiver()
        receiver.start()
        stack.callback(receiver.stop)
        world = _world(folder, receiver, stack)
        stack.enter_context(world.asking(*BACKGROUND, per_second=20))
        time.sleep(WARM)
        rows = []
        for rule, made in CAUSES.items():
            if only is None or rule in only:
                rows.append((rule, made.words, _seconds(rule, made, world, receiver)))
                print(*rows[-1], sep=" | ", flush=True)
    told = [(rule, words, "did not arrive" if took is None else f"{took:.1f}") for rule, words, took in rows]
    shown = table(("rule", "cause", f"seconds until the webhook (times of the rules / {FACTOR})"), told)
    print(shown)
    if only is None:
        replace_section(MONITORING, "alerts", shown)
    lost = [rule for rule, _, took in rows if took is None]
    raise SystemExit(f"did not arrive: {', '.join(lost)}" if lost else 0)


def _world(folder: Path, receiver: Receiver, stack: ExitStack) -> World:
    file, now = folder / "keys.json", datetime.now(UTC)
    made = {
        name: keys.add(file, name, scopes=[scope], expires=None, rate=rate, now=now)[1]
        for name, scope, rate in (("ada", "predict", None), ("seldom", "predict", "1/s"), ("prom", "metrics", None))
    }
    endpoint = Endpoint(free_port(), file)
    stack.callback(endpoint.stop)
    monitoring = Monitoring(folder, target=endpoint.port, key=made["prom"], webhook=receiver.port)
    monitoring.start()
    stack.callback(monitoring.stop)
    return World(endpoint, monitoring, folder, made["ada"], made["seldom"])


def _seconds(rule: str, made: Made, world: World, receiver: Receiver) -> float | None:
    """From the cause to the webhook; None if it did not come. It must be silent before."""
    end = time.monotonic() + LONGEST
    while rule in world.monitoring.firing():
        assert time.monotonic() < end, f"{rule} fires without its cause"
        time.sleep(0.5)
    begin = time.monotonic()
    wanted = {"alertname": rule, **made.labels}.items()
    with made.cause(world):
        while time.monotonic() < begin + LONGEST:
            for notice in list(receiver.notices):
                if notice.firing and notice.moment > begin and wanted <= notice.labels.items():
                    return notice.moment - begin
            time.sleep(0.05)
    return None


if __name__ == "__main__":
    main()
