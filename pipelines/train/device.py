"""Everything that differs between a CPU stage and a GPU stage, in one place.

Read this file to check what a GPU changes: where tensors live, how they cross to the host and back, and
when the clock may be read, and where memory is counted.
"""

from __future__ import annotations

import ctypes
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pipelines.errors import UserError
from pipelines.train.chip import this_multiplies_bfloat16
from pipelines.train.meter import Meter
from pipelines.train.nvml import energy_counter

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names of glibc's malloc.h."""


ALIGNMENT = 64
"""Bytes. torch's own memory begins at multiples of this, a message's does not; a kernel may sum in another order
where it does not, and one stage would have got the tensor from torch."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory that a process had at once, in bytes."""

    host: int
    """Of the whole process, libraries included."""
    device: int | None
    """What tensors took on its GPU; None on a CPU."""
    since_start: bool
    """Whether `host` counts from the process's start: this system does not let the count begin anew."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most memory that a stage's process had, by what it did."""

    start: Peak
    """Libraries loaded, and nothing of the model there yet."""
    load: Peak
    """Until it had its weights and, in a resumed run, its optimizer's state."""
    train: Peak
    """Since then."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When something began."""

    wall: float
    """Seconds since the epoch."""
    worked: float
    """Seconds that this thread had worked until then, on a clock of its own."""


@dataclass(frozen=True, slots=True)
class Device:
    """The device that Ray assigned to a stage; never guessed from what the machine has."""

    kind: torch.device
    threads: int
    """Threads of torch's CPU kernels."""
    slowdown: float = 1.0
    """How many times as long everything is made to take: a fast machine stands in for a slow one, in tests."""

    @staticmethod
    def assigned(gpu_ids: list[str], num_cpus: float, threads: int | None = None) -> Device:
        """From Ray's assignment: the first visible GPU if it gave one, else as many threads as CPUs, unless told."""
        threads = threads or max(1, int(num_cpus))
        # Ray sets CUDA_VISIBLE_DEVICES to the assigned ids, so the one GPU of this actor is number 0.
        return Device(
            torch.device("cuda", 0) if gpu_ids and torch.cuda.is_available() else torch.device("cpu"), threads
        )

    def settle(self) -> None:
        """Make this process use the device, and use it the same way every time."""
        torch.set_num_threads(self.threads)
        _keep_memory()
        if self.kind.type == "cuda":
            torch.cuda.set_device(self.kind)
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.deterministic = True

    def take(self, tensor: Tensor) -> Tensor:
        """A tensor that came from another process, on this device."""
        if self.kind.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
            return tensor.clone()
        return tensor.to(self.kind, non_blocking=True)

    def give(self, tensor: Tensor) -> Tensor:
        """A tensor ready for another process: on the host, contiguous, without a graph."""
        return tensor.detach().to("cpu").contiguous()

    def now(self) -> Moment:
        """A moment that `wait` may count from."""
        return Moment(time.time(), self._worked())

    def wait(self, since: Moment) -> None:
        """Return when all work given to the device is done, so that the clock tells the truth.

        On a device that is slowed on purpose only when `slowdown` times what it worked `since` then has passed. What
        it waited for others counts once.
        """
        if self.kind.type == "cuda":
            torch.cuda.synchronize(self.kind)
        if self.slowdown > 1:
            until = time.perf_counter() + (self.slowdown - 1) * (self._worked() - since.worked)
            while (left := until - time.perf_counter()) > 0:
                time.sleep(left)

    def _worked(self) -> float:
        # A GPU works while this thread waits for it. A CPU does not while another process has it.
        return time.perf_counter() if self.kind.type == "cuda" else time.thread_time()

    def peak(self) -> Peak:
        """The peak since the last call, or since the process began; the next one counts from here."""
        gpu = None
        if self.kind.type == "cuda":
            # There is nothing to reset in a process that has not used its GPU yet.
            torch.cuda.init()
            gpu = torch.cuda.max_memory_allocated(self.kind)
            torch.cuda.reset_peak_memory_stats(self.kind)
        try:
            host = int(re.findall(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)[0]) * 1024
            # 5 sets the peak back to what is held now: proc_pid_clear_refs(5).
            _CLEAR.write_text("5")
        except (OSError, IndexError):
            unit = 1 if sys.platform == "darwin" else 1024
            return Peak(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, gpu, since_start=True)
        return Peak(host, gpu, since_start=False)

    def meter(self) -> Meter:
        """Begins to count what this node's processors, and the GPU, draw."""
        if self.kind.type == "cpu":
            return Meter()
        return Meter(energy_counter(f"GPU-{torch.cuda.get_device_properties(self.kind).uuid}"))

    def check(self, precision: str) -> None:
        """Refuse a precision that this device's chip has no instructions for.

        Raises:
            UserError: says what to use instead.
        """
        if precision == "bfloat16" and self.kind.type == "cpu" and this_multiplies_bfloat16() is False:
            raise UserError(
                "A stage is to compute in bfloat16 on a CPU that has no instructions for it (avx512_bf16, amx_bf16), "
                "where it takes a hundred times as long as float32. Set devices.cpu.precision=float32, or keep stages "
                "off this node."
            )

    @contextmanager
    def precision(self, name: str) -> Iterator[None]:
        """Run matrix products in `name`: float32 leaves everything alone.

        Raises:
            UserError: the device has no kernel in float16 for something that the model does.
        """
        dtype = HALVES.get(name, torch.bfloat16)
        with self.knows(name), torch.autocast(self.kind.type, dtype, enabled=name in HALVES, cache_enabled=False):
            yield

    @contextmanager
    def knows(self, name: str) -> Iterator[None]:
        """Say what to do where torch has no kernel in `name` for this device; a backward has no autocast.

        Raises:
            UserError: as `precision`.
        """
        try:
            yield
        except RuntimeError as error:
            if name != "float16" or "not implemented for 'Half'" not in str(error):
                raise
            raise UserError(
                f"This model cannot be trained in float16 on {self}: torch says {error}. "
                "Use train.precision=bfloat16, or stages on GPUs only."
            ) from error

    @property
    def gpu(self) -> str | None:
        """The GPU's name; None on a CPU."""
        return torch.cuda.get_device_name(self.kind) if self.kind.type == "cuda" else None

    def __str__(self) -> str:
        slowed = f", slowed {self.slowdown:g}x" if self.slowdown != 1 else ""
        if self.gpu is not None:
            return self.gpu + slowed
        return f"CPU, {self.threads} thread{'s' if self.threads > 1 else ''}{slowed}"


def _keep_memory() -> None:
    """Let glibc keep the memory that tensors free.

    By default it gives large blocks back to the kernel and gets them again, zeroed page by page, in the
    next micro-batch, which cost a stage about a tenth of its time. No-op where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
