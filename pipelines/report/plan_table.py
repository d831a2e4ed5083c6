"""The plan and the data as a person wants to see them before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.report.observer import Beginning


def plan_table(beginning: Beginning) -> str:
    """A few lines of text: the splits, then one line a stage."""
    lines = []
    for split, facts in beginning.data.items():
        notes = [
            f"{facts[key]:,} {words}"
            for key, words in (
                ("in_pieces", "in several pieces"),
                ("cut", "cut off"),
                ("unseen", "words the tokenizer dropped"),
                ("tags_repaired", "I- tags repaired"),
            )
            if facts[key]
        ]
        waste = f", padding waste {facts['padding_waste']:.1%}" if "padding_waste" in facts else ""
        if "padding_waste_unpacked" in facts:
            waste += f" (unpacked {facts['padding_waste_unpacked']:.1%})"
        tail = f" ({'; '.join(notes)})" if notes else ""
        lines.append(f"{split:<5}  {facts['rows']:>7,} rows  {facts['sub_words']:>9,} sub-words{waste}{tail}")
    stages = beginning.plan["stages"]
    partly = any(stage["num_trained"] < stage["num_parameters"] for stage in stages)
    word = "worker" if beginning.plan.get("strategy") == "data" else "stage"
    for stage in stages:
        units = stage["units"]
        span = units[0] if len(units) == 1 else f"{units[0]} to {units[-1]}"
        trained = f" ({stage['num_trained'] / 1e6:.2f} M trained)" if partly else ""
        replica = f"replica {stage['replica']}  " if "replica" in stage else ""
        lines.append(
            f"{replica}{word} {stage['stage']}  {stage['num_parameters'] / 1e6:>6.1f} M parameters{trained}  "
            f"{stage['share']:>4.0%} of the work  {stage['assigned']}{_local(stage)}: {span}"
        )
    if (seconds := beginning.plan.get("seconds")) is not None:
        least = f", {beginning.plan['least']}" if beginning.plan.get("least") else ""
        lines.append(f"predicted: {seconds:.3f} s a step{least}, schedule {beginning.plan['schedule']}")
    if len(shares := beginning.plan.get("shares") or ()) > 1:
        lines.append(shares_line(shares))
    plan = beginning.plan
    remarks = (plan.get("why"), *plan.get("left_open", ()), *plan.get("left_out", ()), plan.get("instead"))
    lines += [remark for remark in remarks if remark is not None]
    for server in beginning.plan.get("servers", []):
        size = f"{server['parameters'] / 1e6:>6.1f} M parameters in {server['pieces']} pieces"
        lines.append(f"parameter server {server['server']}  {size}  {server['assigned']}")
    return "\n".join(lines)


def shares_line(shares: Sequence[float]) -> str:
    """How steps fall to replicas, in words."""
    return f"shares of a step: {' : '.join(f'{share:g}' for share in shares)}, by replica"


def _local(stage: Mapping[str, Any]) -> str:
    local = stage.get("local")
    return "" if local is None else f", {local['precision']}, {local['optimizer']} at {local['learning_rate']:g}"
