"""A data set as a stream of blocks, read by Ray Data.

    file ──▶ reading task ──▶ blocks in Ray's store ──▶ every data shard takes its own rows ──▶ its disk

The reading task yields blocks as they are wanted, and waits while as many are in the store as Ray Data has room for.
Nothing of them passes through the driver.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import ray

from pipelines.config import DataConfig
from pipelines.data.kind import ExampleKind
from pipelines.data.stream import BLOCK, blocks


def stream(
    source: str, split: str, data: DataConfig, kind: ExampleKind, *, timeout: float
) -> Iterator[ray.ObjectRef[Any]]:
    """The blocks of a split in their order; see pipelines/data/stream.py.

    They are read on this node, on no CPU of the plan's, as the files may be nowhere else.

    Raises:
        TimeoutError: no block came for so many seconds.
    """
    # Imported here: it brings pandas, and few runs need it.
    from ray.data import DataContext, Datasource, read_datasource
    from ray.data.block import BlockMetadata
    from ray.data.datasource import ReadTask
    from ray.data.exceptions import ExecutionTimeoutError

    # What goes wrong comes back as an error; else it writes a line for every split, and one that it shows no bars.
    logging.getLogger("ray.data").setLevel(logging.ERROR)

    class Split(Datasource):
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:  # noqa: ARG002
            read = partial(blocks, source, split=split, data=data, kind=kind)
            return [ReadTask(read, BlockMetadata(None, None, None))]

    context = DataContext.get_current().copy()
    context.target_max_block_size = BLOCK
    context.execution_options.preserve_order = True
    context.execution_no_progress_timeout_s = timeout
    context.enable_progress_bars = context.print_on_execution_start = False
    with DataContext.current(context):
        rows = read_datasource(
            Split(),  # type: ignore[no-untyped-call]
            override_num_blocks=1,
            num_cpus=0,
            label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},
        )
    try:
        for bundle in rows.iter_internal_ref_bundles():
            for block in bundle.blocks:
                yield block.ref
    except ExecutionTimeoutError as error:
        raise TimeoutError(f"Waited {timeout:g} s for a block of {split} to be read (plan.timeout).") from error
