"""The memory of a stage against its share of the model, while the weights are loaded and in training.

python -m tests.bench.memory [--layers 20] [--stages 2 3] [--steps 3]

A Llama with random weights in float32 is trained plain, in a process of its own, and cut, on real actors. A
second one of the same kind that weighs next to nothing is trained the same way: what its stages take is the
constant, which comes on top of any share.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.bench.tables import BENCHMARKS, ROOT, command, machine, replace_section, table

ALLOWED = 1.15
MB = 1e6
MOMENTS = 4
"""Values that AdamW needs for each parameter: weight, gradient, and two moments."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=20, help="of 12.8 million parameters each")
    parser.add_argument("--stages", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--docs", type=Path, default=BENCHMARKS)
    parser.add_argument("--section", default="memory", help="the marked section of the docs to write")
    parser.add_argument("--plain", type=Path, help="train this model plain and print its peaks; nothing else")
    return parser.parse_args()


def write_model(folder: Path, *, layers: int, width: int) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=width, intermediate_size=width * 11 // 4, num_hidden_layers=layers, num_attention_heads=16,
        vocab_size=8000, max_position_embeddings=512,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def plain(folder: Path, steps: int) -> dict[str, Any]:
    """The peaks of this process, in bytes: libraries, loading, training."""
    # All libraries first: they are no part of the model's peaks.
    from transformers import LlamaForCausalLM  # noqa: F401

    from pipelines.check.load import load_subject
    from pipelines.model.examples import example_batches
    from pipelines.train.device import Device

    torch.set_num_threads(1)
    device = Device(torch.device("cpu"), threads=1)
    start = device.peak().host
    subject = load_subject(str(folder), task=None, dtype="float32")
    batches = example_batches(subject.model, subject.task, count=4)
    load = device.peak().host
    optimizer = torch.optim.AdamW(subject.model.parameters(), fused=True)
    subject.model.train()
    for _ in range(steps):
        for batch in batches:
            (subject.model(**batch).loss / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(subject.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    parameters = sum(p.numel() for p in subject.model.parameters())
    largest = max(p.nbytes for p in subject.model.parameters())
    return {
        "start": start, "load": load, "train": device.peak().host, "parameters": parameters, "largest": largest
    }  # fmt: skip


def plainly(folder: Path, steps: int) -> dict[str, int]:
    """`plain` in a process of its own."""
    words = [sys.executable, "-m", "tests.bench.memory", "--plain", str(folder), "--steps", str(steps)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def cut(folder: Path, stages: int, steps: int) -> list[Any]:
    """What each stage held, and its peaks."""
    from cluster.checking import prepare, run_cut, stage_facts

    trial = prepare(str(folder), task=None, stages=stages, dtype="float32", steps=steps)
    facts = list(stage_facts(trial, run_cut(trial)))
    assert not any(fact.memory.train.since_start for fact in facts), "this system does not count peaks anew"
    return facts


def main() -> None:
    given = arguments()
    if given.plain is not None:
        print(json.dumps(plain(given.plain, given.steps)))
        return
    rows, met, most = [], True, {"load": 0.0, "train": 0.0}
    with tempfile.TemporaryDirectory(prefix="motley-bench-") as place:
        small, large = Path(place) / "small", Path(place) / "large"
        write_model(small, layers=6, width=64)
        write_model(large, layers=given.layers, width=1024)
        alone = plainly(large, given.steps)
        for stages in given.stages:
            bare = cut(small, stages, given.steps)
            # A tensor that is larger than a piece travels whole.
            constant = {
                "load": max(f.memory.load.host - f.num_bytes for f in bare) + alone["largest"],
                "train": max(f.memory.train.host - MOMENTS * f.num_bytes for f in bare) + alone["largest"],
            }
            for fact in cut(large, stages, given.steps):
                row = [f"{fact.stage} of {stages}", f"{fact.num_parameters / 1e6:,.1f}"]
                for kind, times in (("load", 1), ("train", MOMENTS)):
                    share, peak = times * fact.num_bytes, getattr(fact.memory, kind).host
                    ratio = (peak - constant[kind]) / share
                    met &= ratio <= ALLOWED
                    most[kind] = max(most[kind], constant[kind])
                    row += [f"{n / MB:,.0f}" for n in (share, peak, constant[kind])]
                    row += [f"{ratio:.2f}", "yes" if ratio <= ALLOWED else "no"]
                print(row, flush=True)
                rows.append(row)
    head = ["stage", "parameters, M"]
    for kind in ("loading", "training"):
        head += [f"{kind}: share", "peak", "constant", "ratio", f"at most {ALLOWED}"]
    body = f"""## Memory of a stage against its share

`{command(__file__)}`

{machine()}.
A Llama of {alone["parameters"] / 1e6:,.1f} million parameters with random weights, float32, AdamW, {given.steps} steps
of 4 small micro-batches. Megabytes of the stage's whole process (Linux's VmHWM, counted anew for each phase). *Share*:
the bytes of the stage's own parameters, and {MOMENTS} times as many in training (weights, gradients, two moments).
*Constant*: what a stage of the same kind of model takes that weighs next to nothing (Python, torch, transformers, Ray,
kernels, activations), and one piece, here the largest tensor ({alone["largest"] / MB:,.0f} MB). *Ratio*: (peak -
constant) / share. The claim that no ratio is above {ALLOWED}: {"yes" if met else "no"}.

The plain model in one process took {(alone["load"] - alone["start"]) / MB:,.0f} MB while loading (the file is mapped
into memory and read when used) and {(alone["train"] - alone["start"]) / MB:,.0f} MB in training, beside
{alone["start"] / MB:,.0f} MB of libraries; {MOMENTS} times its parameters are
{MOMENTS * 4 * alone["parameters"] / MB:,.0f} MB.

{table(head, rows)}
"""
    print(body)
    replace_section(given.docs, given.section, body)


if __name__ == "__main__":
    main()
