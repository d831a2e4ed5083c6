import torch

from pipelines.train.randomness import Stream

CPU = torch.device("cpu")


def drawn(stream: Stream, place: str) -> list[float]:
    stream.enter(place)
    return torch.rand(4).tolist()


def test_a_place_draws_the_same_whatever_was_drawn_before() -> None:
    first = drawn(Stream(0, 1, 2, CPU), "layer.0")
    torch.rand(100)
    assert drawn(Stream(0, 1, 2, CPU), "layer.0") == first


def test_seed_step_micro_batch_and_place_each_change_what_is_drawn() -> None:
    streams = [Stream(0, 1, 2, CPU), Stream(1, 1, 2, CPU), Stream(0, 2, 2, CPU), Stream(0, 1, 3, CPU)]
    draws = [drawn(stream, "layer.0") for stream in streams] + [drawn(streams[0], "layer.1")]
    assert len({tuple(draw) for draw in draws}) == 5
