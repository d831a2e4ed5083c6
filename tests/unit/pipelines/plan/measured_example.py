"""A measurement of three units on two types of device, in numbers that can be added in the head."""

from __future__ import annotations

from pipelines.plan.measured import Link, Measured, MeasuredType, Shape, Times

SMALL, LARGE = Shape(4, 8), Shape(8, 8)


def times(shape: Shape, factor: float) -> Times:
    return Times(
        shape,
        forward=(1 * factor / 1e3, 4 * factor / 1e3, 2 * factor / 1e3),
        backward=(0.0, 6 * factor / 1e3, 3 * factor / 1e3),
        weights=(0.0, 4 * factor / 1e3, 1 * factor / 1e3),
        stage_forward=0.001,
        stage_backward=0.002,
        kept=(100, 4000, 2000),
        noted=(0, 1000, 500),
        crossing=((1024, 0), (1024, 1024)),
    )


FAST = MeasuredType(
    name="fast",
    kind="gpu",
    chip="H100",
    threads=1,
    precision="bfloat16",
    memory=2**30,
    times=(times(SMALL, 1.0), times(LARGE, 2.0)),
    update=(0.001, 0.002, 0.001),
    rates=(1.0,),
)
SLOW = MeasuredType(
    name="slow",
    kind="cpu",
    chip="EPYC",
    threads=2,
    precision="float32",
    memory=2**31,
    times=(times(SMALL, 3.0),),
    update=(0.003, 0.006, 0.003),
    rates=(1.0, 0.5),
    process=300_000_000,
)
MEASURED = Measured(
    model="BertForTokenClassification",
    units=("embeddings", "block", "head"),
    held=(4000, 16000, 800),
    types=(FAST, SLOW),
    links=(
        Link(("fast", "slow"), 0.001, 1e8),
        Link(("fast", "fast"), 0.0001, 1e9, same_node=True),
        Link(("slow", "slow"), 0.0001, 1e9, same_node=True),
        Link(("slow", "slow"), 0.002, 1e8),
    ),
    versions={"torch": "2.13.0"},
)
