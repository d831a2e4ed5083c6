import time
from pathlib import Path

import pytest
import torch
import zmq

from cluster.transport import Keys, ZmqTransport
from pipelines.train.transport import Tag

KEYS = Keys.new()


@pytest.fixture(params=["one node", "two nodes"])
def pair(request: pytest.FixtureRequest):
    room = f"motley-test-{time.time_ns()}" if request.param == "one node" else None
    stages = [ZmqTransport(j, keys=KEYS, timeout=5) for j in range(2)]
    addresses = {j: stage.bind(room=room, host="127.0.0.1") for j, stage in enumerate(stages)}
    for stage in stages:
        stage.connect(addresses)
    yield stages
    for stage in stages:
        stage.close()
    if room is not None:
        assert not Path(addresses[0].removeprefix("ipc://")).parent.exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64], ids=str)
def test_tensors_arrive_bitwise_as_they_were_sent(pair, dtype: torch.dtype) -> None:
    sent = [torch.arange(24).reshape(2, 3, 4).to(dtype), torch.tensor(7, dtype=dtype), torch.zeros(0, 3, dtype=dtype)]
    assert pair[0].send(1, Tag(0, "activations", 3), sent) == 25 * sent[0].element_size()
    got = pair[1].receive(0, Tag(0, "activations", 3))
    assert [(t.dtype, t.shape) for t in got] == [(t.dtype, t.shape) for t in sent]
    assert all(torch.equal(a, b) for a, b in zip(sent, got, strict=True))


def test_messages_may_be_asked_for_in_any_order(pair) -> None:
    for i in range(3):
        pair[0].send(1, Tag(0, "activations", i), [torch.full((i + 1,), float(i))])
    assert [pair[1].receive(0, Tag(0, "activations", i))[0].tolist() for i in (2, 0, 1)] == [[2, 2, 2], [0], [1, 1]]


def test_a_wait_that_is_in_vain_names_who_waits_for_whom_and_for_what() -> None:
    alone = ZmqTransport(2, keys=KEYS, timeout=0.05)
    try:
        message = r"Stage 2 waited 0.05 s for the gradients of micro-batch 4 in step 9 from stage 3, which never came"
        with pytest.raises(TimeoutError, match=message):
            alone.receive(3, Tag(9, "gradients", 4))
    finally:
        alone.close()


def test_a_stranger_without_the_key_of_the_run_is_not_heard() -> None:
    stage = ZmqTransport(0, keys=KEYS, timeout=0.5)
    address = stage.bind(room=None, host="127.0.0.1")
    strangers = [zmq.Context(), ZmqTransport(1, keys=Keys.new(), timeout=0.5)]
    try:
        plain = strangers[0].socket(zmq.PUSH)
        plain.connect(address)
        header = b'[[1, 0, "norm", 0], []]'
        plain.send(header, zmq.NOBLOCK)
        # The stranger knows where to connect, but has a key pair of its own.
        strangers[1].connect({0: address})
        strangers[1].send(0, Tag(0, "norm"), [])
        with pytest.raises(TimeoutError):
            stage.receive(1, Tag(0, "norm"))
    finally:
        strangers[0].destroy(linger=0)
        strangers[1].close()
        stage.close()


def test_keys_do_not_show_in_logs() -> None:
    assert KEYS.secret.decode() not in repr(KEYS)
