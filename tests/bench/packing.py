"""What `data.packing` saves of padding: `python -m tests.bench.packing`. Seconds; nothing is trained.

Lengths are log-normal, as those of chats and reviews are about (median 55 sub-words, one in ten above 150).
"""

from __future__ import annotations

import random

from pipelines.data.batches import Step, epoch_steps, padding_waste

MOST = 512
"""`data.max_length`."""


def main() -> None:
    """Print a table."""
    print("| texts | in a batch | padding | packed | largest to mean | packed | rows | packed |")
    print("|---|---|---|---|---|---|---|---|")
    for texts, batch_size in ((200, 16), (2000, 16), (20000, 16), (2000, 64)):
        chance = random.Random(0)
        lengths = [max(4, min(MOST, int(chance.lognormvariate(4, 0.8)))) for _ in range(texts)]
        plain, packed = (
            epoch_steps(
                lengths, batch_size=batch_size, accumulate=1, micro_batches=4, token_budget=4096, seed=0, epoch=0,
                packing=packing,
            )
            for packing in (None, MOST)
        )  # fmt: skip
        cells = [f"{padding_waste(steps, lengths):.1%}" for steps in (plain, packed)]
        cells += [f"{unevenness(steps):.2f}" for steps in (plain, packed)]
        cells += [f"{rows(steps):.1f}" for steps in (plain, packed)]
        print(f"| {texts:,} | {batch_size} | {' | '.join(cells)} |")


def unevenness(steps: list[Step]) -> float:
    """The largest micro-batch of a step, padding included, to the mean."""
    sizes = [[piece.num_padded_tokens for piece in step.micro_batches] for step in steps]
    return sum(max(step) * len(step) for step in sizes) / sum(map(sum, sizes))


def rows(steps: list[Step]) -> float:
    """Rows of a micro-batch in the mean."""
    lines = [piece.num_lines for step in steps for piece in step.micro_batches]
    return sum(lines) / len(lines)


if __name__ == "__main__":
    main()
