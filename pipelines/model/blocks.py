"""Which calls of a forward are a model's blocks: those of the entries of its outermost module lists, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from pipelines.model.trace import Call, Trace


def find_blocks(model: nn.Module, seen: Trace) -> list[Call]:
    """The blocks' calls, none within another; empty where the model has no lists of modules that run.

    Lists of modules (ModuleList) come first; chains (Sequential) count only in a model without such lists.
    """
    for kind in (nn.ModuleList, nn.Sequential):
        blocks = _entries(model, seen, kind)
        if len(blocks) > 1:
            return blocks
    return []


def _entries(model: nn.Module, seen: Trace, kind: type[nn.ModuleList] | type[nn.Sequential]) -> list[Call]:
    calls: dict[str, list[Call]] = {}
    for call in seen.calls:
        # What computes outside autograd's sight is no block: every stage runs it.
        if any(edge is not None for edge in call.returned):
            calls.setdefault(call.path, []).append(call)
    chosen: list[str] = []
    blocks: list[Call] = []
    for path, module in model.named_modules():
        if not isinstance(module, kind) or any(path.startswith(f"{entry}.") for entry in chosen):
            continue
        entries = [f"{path}.{name}" if path else name for name, _ in module.named_children()]
        found = [call for entry in entries for call in calls.get(entry, [])]
        # A list with one entry that runs once only wraps what is inside it.
        if len(found) > 1 and any(True for _ in module.parameters()):
            chosen += entries
            blocks += found
    return _one_behind_the_other(blocks)


def _one_behind_the_other(blocks: Sequence[Call]) -> list[Call]:
    ordered: list[Call] = []
    for call in sorted(blocks, key=lambda call: call.opened):
        if not ordered or call.opened > ordered[-1].closed:
            ordered.append(call)
    return ordered
