import os
import tempfile
import time
from pathlib import Path

import pytest
import torch
import zmq

from cluster.inbox import Inbox
from cluster.shared_memory import SharedMemory
from cluster.transport import Keys, ZmqTransport
from cluster.ways import Ways
from cluster.wire import head, read_head
from pipelines.train.device import ALIGNMENT
from pipelines.train.transport import Tag

KEYS = Keys.new()


@pytest.fixture(params=["shared memory", "one node", "two nodes"])
def pair(request: pytest.FixtureRequest):
    room = None if request.param == "two nodes" else f"motley-test-{time.time_ns()}"
    stages = [
        SharedMemory(j, timeout=5) if request.param == "shared memory" else ZmqTransport(j, keys=KEYS, timeout=5)
        for j in range(2)
    ]
    addresses = {j: stage.bind(room=room, host="127.0.0.1") for j, stage in enumerate(stages)}
    for stage in stages:
        stage.connect(addresses)
    yield stages
    for stage in stages:
        stage.close()
    if room is not None:
        assert not (Path(tempfile.gettempdir()) / room).exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool], ids=str)
def test_tensors_arrive_bitwise_as_they_were_sent(pair, dtype: torch.dtype) -> None:
    sent = [torch.arange(24).reshape(2, 3, 4).to(dtype), torch.tensor(7).to(dtype), torch.zeros(0, 3, dtype=dtype)]
    assert pair[0].send(1, Tag(0, "activations", 3), sent) == 25 * sent[0].element_size()
    got = pair[1].receive(0, Tag(0, "activations", 3))
    assert [(t.dtype, t.shape) for t in got] == [(t.dtype, t.shape) for t in sent]
    assert all(torch.equal(a, b) for a, b in zip(sent, got, strict=True))


def test_messages_may_be_asked_for_in_any_order(pair) -> None:
    for i in range(3):
        pair[0].send(1, Tag(0, "activations", i), [torch.full((i + 1,), float(i))])
    assert [pair[1].receive(0, Tag(0, "activations", i))[0].tolist() for i in (2, 0, 1)] == [[2, 2, 2], [0], [1, 1]]


def test_long_and_short_tensors_arrive_whole(pair) -> None:
    sent = [torch.arange(2**18), torch.tensor([5]), torch.arange(2**15), torch.zeros(0), torch.arange(2**15 + 1)]
    pair[0].send(1, Tag(0, "activations"), sent)
    got = pair[1].receive(0, Tag(0, "activations"))
    assert [t.tolist() for t in got] == [t.tolist() for t in sent]


def test_what_was_sent_is_the_receivers_own(pair) -> None:
    sent = [torch.ones(3, 5), torch.ones(7)]
    for i in range(3):
        pair[0].send(1, Tag(0, "activations", i), sent)
    first, second, third = (pair[1].receive(0, Tag(0, "activations", i)) for i in range(3))
    second[0].zero_()
    assert [t.sum().item() for t in (*first, *second, *third)] == [15, 7, 0, 7, 15, 7]


@pytest.mark.parametrize("way", ["shared memory", "sockets"])
def test_a_wait_that_is_in_vain_names_who_waits_for_whom_and_for_what(way: str) -> None:
    alone: Inbox = SharedMemory(2, timeout=0.05) if way == "shared memory" else ZmqTransport(2, keys=KEYS, timeout=0.05)
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
        plain.send(head(1, Tag(0, "norm"), []), zmq.NOBLOCK)
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


def test_a_head_says_whose_and_what_a_message_is_and_how_its_tensors_look() -> None:
    sent = head(3, Tag(70, "gradients", 5, chunk=2), [torch.zeros(2, 9), torch.tensor(1, dtype=torch.int64)])
    read = 3, Tag(70, "gradients", 5, chunk=2), [(torch.float32, (2, 9)), (torch.int64, ())], len(sent)
    assert read_head(sent) == read
    with pytest.raises(ValueError, match="no head"):
        read_head(sent[:-1])


@pytest.fixture
def near():
    stages = [SharedMemory(j, timeout=0.2) for j in range(2)]
    addresses = {j: s.bind(room=f"motley-test-{time.time_ns()}", host="") for j, s in enumerate(stages)}
    for stage in stages:
        stage.connect(addresses)
    yield stages
    for stage in stages:
        stage.close()


def test_shared_memory_is_used_again_when_the_receiver_has_taken_what_was_in_it(near) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for i in range(50):
        near[0].send(1, Tag(0, "activations", i), [torch.full((2**20,), float(i))])
        (got,) = near[1].receive(0, Tag(0, "activations", i))
        assert got[0] == got[-1] == i
        assert got.data_ptr() % ALIGNMENT == 0
    # One file of the sender's pool, one more for each mapping of it, and the sender's end of the receiver's pipe.
    assert len(os.listdir("/proc/self/fd")) == before + 4


def test_what_is_not_taken_yet_is_not_written_over(near) -> None:
    for i in range(40):
        near[0].send(1, Tag(0, "activations", i), [torch.full((2**18,), float(i))])
    assert [near[1].receive(0, Tag(0, "activations", i))[0].sum().item() for i in range(40)] == [
        2**18 * i for i in range(40)
    ]


def test_a_tensor_that_is_not_contiguous_arrives_as_it_looks(near) -> None:
    near[0].send(1, Tag(0, "activations"), [torch.arange(6).reshape(2, 3).t()])
    assert near[1].receive(0, Tag(0, "activations"))[0].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_receiver_that_takes_nothing_in_is_named(near) -> None:
    def send_on() -> None:
        for step in range(100_000):
            near[0].send(1, Tag(step, "norm"), [])

    with pytest.raises(TimeoutError, match=r"Stage 0 waited 0\.2 s for stage 1 to take in its messages, the norm in s"):
        send_on()


def test_sending_to_one_that_is_gone_is_not_the_senders_failure(near) -> None:
    near[0].send(1, Tag(0, "norm"), [])
    near[1].close()
    near[0].send(1, Tag(1, "norm"), [])


def test_each_stage_takes_the_way_that_leads_to_the_others_node() -> None:
    stages = [Ways(j, keys=KEYS, timeout=5) for j in range(3)]
    room = f"motley-test-{time.time_ns()}"
    nodes = ["a", "a", "b"]
    addresses = {
        j: stage.bind(node=nodes[j], room=f"{room}-{nodes[j]}", host="127.0.0.1") for j, stage in enumerate(stages)
    }
    try:
        assert [addresses[j].seen_from("a").partition(":")[0] for j in range(3)] == ["memory", "memory", "tcp"]
        for stage in stages:
            stage.connect(addresses)
        for j in range(3):
            for k in {0, 1, 2} - {j}:
                stages[j].send(k, Tag(0, "norms", j), [torch.tensor([10 * j + k])])
        assert [[stages[k].receive(j, Tag(0, "norms", j))[0].item() for j in {0, 1, 2} - {k}] for k in range(3)] == [
            [10, 20],
            [1, 21],
            [2, 12],
        ]
    finally:
        for stage in stages:
            stage.close()
