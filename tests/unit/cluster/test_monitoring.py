"""The files of cluster/monitoring: they name what exists, and every rule has its cause and its section of the docs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.watch.watch import Watch
from tests.alerts.causes import CAUSES
from tests.alerts.servers import shorter

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "cluster" / "monitoring"
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
WITH_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (apt-get install prometheus)"
)
SEVERITIES = {"critical", "warning", "info"}

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
TESTS = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]
NAMES = [rule["alert"] for rule in RULES]


def metrics() -> dict[str, set[str]]:
    """What the watch exposes: names as Prometheus stores them."""
    ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
    return {family.name: {family.name + end for end in ends[family.type]} for family in Watch().registry.collect()}


def named(expression: str) -> set[str]:
    """The metrics of ours that an expression names."""
    return set(re.findall(r"\bmotley_\w+", expression))


def expressions() -> dict[str, str]:
    """Of every panel."""
    return {
        f"{panel['title']}, {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    }


EXISTING = set().union(*metrics().values())


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_names_what_the_watch_exposes(rule: dict[str, Any]) -> None:
    found = named(rule["expr"])
    assert found <= EXISTING
    assert found or "up{" in rule["expr"]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/monitoring.md#{rule['alert'].lower()}"
    assert f"\n### {rule['alert']}\n" in MONITORING


def test_the_docs_have_no_rule_that_is_none_and_name_every_metric() -> None:
    assert re.findall(r"^### (Motley\w+)$", MONITORING, re.MULTILINE) == NAMES
    documented = set(re.findall(r"`(motley_\w+)", MONITORING))
    assert set(metrics()) <= documented | {name.removesuffix("_total") for name in documented}
    assert documented <= EXISTING | set(metrics())


def test_every_panel_names_what_the_watch_exposes() -> None:
    wrong = {title: named(text) - EXISTING for title, text in expressions().items()}
    assert {title: names for title, names in wrong.items() if names} == {}


def test_the_dashboard_shows_every_metric() -> None:
    shown = set().union(*map(named, expressions().values()))
    assert [name for name, series in metrics().items() if not series & shown] == []


def test_every_rule_has_its_cause_before_which_it_is_silent() -> None:
    assert [test["name"] for test in TESTS] == NAMES
    for test in TESTS:
        silent, fires = test["promql_expr_test"]
        assert (silent["exp_samples"], fires["exp_samples"]) == ([], [{"labels": "{}", "value": 1}])
        assert silent["expr"] == fires["expr"] == f'count(ALERTS{{alertname="{test["name"]}", alertstate="firing"}})'


def test_every_rule_has_a_cause_that_is_made_for_it() -> None:
    assert set(CAUSES) == set(NAMES)


def test_the_proof_divides_every_time_of_the_rules() -> None:
    assert shorter("for: 1h\nexpr: rate(x[5m]) > 14 * 86400") == "for: 60000ms\nexpr: rate(x[5000ms]) > 14 * 86400"
    left = re.findall(r"for: \S+|\[\d\w*\]", shorter((FOLDER / "alerts.yaml").read_text()))
    assert all(time.rstrip("]").endswith("ms") for time in left)


def test_what_inhibits_and_is_inhibited_are_rules() -> None:
    manager = yaml.safe_load((FOLDER / "alertmanager.yaml").read_text())
    matchers = [
        one for rule in manager["inhibit_rules"] for side in ("source", "target") for one in rule[f"{side}_matchers"]
    ]
    assert set(re.findall(r"Motley\w+", " ".join(matchers))) <= set(NAMES)


@WITH_PROMTOOL
def test_prometheus_can_read_every_panel(tmp_path: Path) -> None:
    read = [text.replace("$__rate_interval", "5m").replace("$instance", ".*") for text in expressions().values()]
    rules = [{"record": f"panel:{n}", "expr": text} for n, text in enumerate(read)]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", "panels.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
@WITH_PROMTOOL
def test_promtool_sees_every_rule_fire_by_its_cause_and_be_silent_without() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yaml"], cwd=FOLDER, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
