"""Prometheus and Alertmanager with the shipped files, in which all times are shorter, and a receiver of webhooks."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

SHIPPED = Path(__file__).resolve().parents[2] / "cluster" / "monitoring"
FACTOR = 60
"""A minute of the shipped rules is a second here."""
SCRAPE = "500ms"
_UNITS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def shorter(text: str) -> str:
    """Rules or a configuration with every time (`for: 5m`, `[1d]`, `group_wait: 30s`) divided by FACTOR."""

    def divided(found: re.Match[str]) -> str:
        milliseconds = int(found["number"]) * _UNITS[found["unit"]] // FACTOR
        return f"{found['before']}{milliseconds}ms{found['after']}"

    keys = "for|group_wait|group_interval|repeat_interval"
    pattern = rf"(?P<before>\[|(?:{keys}): )(?P<number>\d+)(?P<unit>[smhd])(?P<after>\]|\b)"
    return re.sub(pattern, divided, text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(*names: str) -> str:
    """The path of the first that there is: Debian calls Alertmanager prometheus-alertmanager."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise SystemExit(f"{names[0]} is not installed here: apt-get install prometheus prometheus-alertmanager")
    return found


@dataclass(frozen=True, slots=True)
class Notice:
    """What Alertmanager sent of one alert."""

    moment: float
    """By time.monotonic()."""
    firing: bool
    labels: dict[str, str]


@dataclass
class Receiver:
    """Where the webhook goes."""

    port: int = field(default_factory=free_port)
    notices: list[Notice] = field(default_factory=list)

    def start(self) -> None:
        notices = self.notices

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    notices.append(Notice(time.monotonic(), alert["status"] == "firing", alert["labels"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Monitoring:
    """The two programs, with the endpoint at `target` scraped."""

    def __init__(self, folder: Path, *, target: int, key: str, webhook: int) -> None:
        self._folder, self._target = folder, target
        self.port, self._manager_port = free_port(), free_port()
        (folder / "motley.key").write_text(key)
        (folder / "alerts.yaml").write_text(shorter((SHIPPED / "alerts.yaml").read_text()))
        manager = yaml.safe_load(shorter((SHIPPED / "alertmanager.yaml").read_text()))
        manager["receivers"][0]["webhook_configs"][0]["url"] = f"http://127.0.0.1:{webhook}/alerts"
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump(manager))
        self.write_config(scraped=True)

    def write_config(self, *, scraped: bool) -> None:
        """prometheus.yaml with addresses of its own; without the endpoint among the targets if it is not `scraped`."""
        config = yaml.safe_load((SHIPPED / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": SCRAPE, "evaluation_interval": SCRAPE}
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{self._manager_port}"]
        (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "motley")
        # Not without the job: Prometheus would go by what it knows of it for five minutes more.
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{self._target}"] if scraped else []
        config["scrape_configs"] = [job]
        (self._folder / "prometheus.yaml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        folder, listen = self._folder, "--web.listen-address=127.0.0.1:"
        manager = program("alertmanager", "prometheus-alertmanager")
        here = [
            f"--config.file={folder}/alertmanager.yaml",
            f"--storage.path={folder}/manager",
            "--cluster.listen-address=",
        ]
        self._manager = self._run([manager, *here, f"{listen}{self._manager_port}"], "alertmanager.log")
        here = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
        self._prometheus = self._run([program("prometheus"), *here, f"{listen}{self.port}"], "prometheus.log")
        self._wait(f"http://127.0.0.1:{self._manager_port}/-/ready")
        self._wait(f"http://127.0.0.1:{self.port}/-/ready")

    def stop(self) -> None:
        for process in (self._prometheus, self._manager):
            process.terminate()
            process.wait(timeout=20)

    def scrape(self, *, scraped: bool) -> None:
        """Take the endpoint out of the targets, or put it back."""
        self.write_config(scraped=scraped)
        self._prometheus.send_signal(signal.SIGHUP)

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        alerts = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def _run(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self._folder / log).open("wb") as file:
            return subprocess.Popen(command, stdout=file, stderr=file)

    def _wait(self, url: str) -> None:
        for _ in range(300):
            try:
                if httpx.get(url, timeout=1).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"{url} does not answer; the logs are in {self._folder}")
