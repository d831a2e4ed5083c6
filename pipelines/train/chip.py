"""What this machine's processor can do, by the flags that it tells."""

from __future__ import annotations

import re
from pathlib import Path

BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of x86 (AVX-512 and AMX) and of Arm, with which a processor multiplies bfloat16 itself."""


def multiplies_bfloat16(cpuinfo: str) -> bool | None:
    """Whether a processor does, by Linux's /proc/cpuinfo; None where that tells no flags.

    Where it does not, a product is taken value by value: it was a hundred times slower than in float32.
    """
    flags = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return not BFLOAT16.isdisjoint(flags[0].split()) if flags else None


def this_multiplies_bfloat16() -> bool | None:
    """The same of this machine; None too where there is no /proc."""
    try:
        return multiplies_bfloat16(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return None
