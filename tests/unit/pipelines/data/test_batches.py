import pytest

from pipelines.data.batches import MicroBatch, epoch_steps, evaluation_batches, padding_waste, split

LENGTHS = [(7 * n) % 23 + 3 for n in range(331)]


def steps(epoch: int = 0, **changes: int):
    options = {"batch_size": 16, "accumulate": 1, "micro_batches": 4, "token_budget": 256, "seed": 0} | changes
    return epoch_steps(LENGTHS, epoch=epoch, **options)


def test_an_epoch_holds_every_example_exactly_once() -> None:
    for epoch in range(3):
        assert sorted(row for step in steps(epoch) for row in step.rows) == list(range(331))


def test_every_step_but_one_is_full() -> None:
    sizes = sorted(len(step.rows) for step in steps())
    assert sizes == [331 % 16] + [16] * (331 // 16)


def test_accumulated_batches_make_one_step() -> None:
    # 21 batches, one of them not full.
    assert [len(step.micro_batches) for step in steps(accumulate=4)] == [16, 16, 16, 16, 16, 4]


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    def order(**of: int) -> list[list[int]]:
        return [step.rows for step in steps(**of)]

    assert steps(0) == steps(0)
    assert order(epoch=0) != order(epoch=1)
    assert order(epoch=0) != order(epoch=0, seed=1)


def test_micro_batches_know_their_epoch() -> None:
    assert {piece.epoch for step in steps(3) for piece in step.micro_batches} == {3}
    assert {piece.epoch for piece in evaluation_batches(LENGTHS, token_budget=100)} == {None}


def test_micro_batches_keep_the_token_budget_and_know_their_width() -> None:
    for step in steps(token_budget=40):
        for piece in step.micro_batches:
            assert piece.num_padded_tokens <= 40
            assert piece.width == max(LENGTHS[row] for row in piece.rows)


def test_a_batch_is_split_into_pieces_of_about_equal_cost() -> None:
    assert split([0, 1, 2, 3, 4, 5], [20, 20, 8, 8, 8, 8], 2, 1000) == [
        MicroBatch((0, 1), 20),
        MicroBatch((2, 3, 4, 5), 8),
    ]


def test_sorting_by_length_leaves_little_padding() -> None:
    assert padding_waste(steps(), LENGTHS) < 0.02


def test_an_example_beyond_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="an example of 25 sub-words does not fit a token budget of 24"):
        steps(token_budget=24)


def test_evaluation_takes_every_example_once_longest_first() -> None:
    batches = evaluation_batches(LENGTHS, token_budget=100)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(331))
    assert [batch.width for batch in batches] == sorted((batch.width for batch in batches), reverse=True)
    assert all(batch.num_padded_tokens <= 100 for batch in batches)
