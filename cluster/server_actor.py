"""A thin shell round a parameter server: Ray places it, a thread of its own answers the stages."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from cluster.actors import Seat
from cluster.copies import NOTHING, Copy
from cluster.handover import StageEnd
from cluster.inbox import GLANCE
from cluster.transport import Keys, ZmqTransport
from pipelines.train.device import Device
from pipelines.train.parameter_server import ParameterServer, ServerReport, ServerSpec
from pipelines.train.pieces import Part
from pipelines.train.server_executor import ServerExecutor
from pipelines.train.transport import server_number


class ServerShell:
    """Holds one parameter server, its transport, and the executor that joins them.

    The thread answers whoever sends something, at any time. The driver's calls, in the actor's own thread, either wait
    for an update, or ask for the state while no step runs.
    """

    def __init__(self, server: int, *, cpus: float, keys: Keys, timeout: float) -> None:
        self._device = Device.assigned([], cpus)
        self._number, self._keys, self._timeout = server_number(server), keys, timeout
        self._transport: ZmqTransport | None = None
        self._driver: StageEnd | None = None
        self._server: ParameterServer | None = None
        self._executor: ServerExecutor | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._reports: dict[int, ServerReport] = {}
        self._copies: dict[int, Copy] = {}
        self._failure: Exception | None = None
        self._closing = False

    def seat(self) -> Seat:
        return Seat(
            ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address(), str(self._device), self._device.gpu
        )

    def bind(self, room: str | None) -> str:
        """Listen for stages and other servers: in a folder `room` where all are on one node, else on an address.

        May be done again, after `let_go`.
        """
        if self._transport is not None:
            self._transport.close()
        self._transport = ZmqTransport(self._number, keys=self._keys, timeout=self._timeout)
        return self._transport.bind(room=room, host=ray.util.get_node_ip_address())

    def bind_for_driver(self, room: str | None) -> str:
        """Listen for the driver, in a folder `room` where it is on this node. May be done again."""
        if self._driver is not None:
            self._driver.close()
        self._driver = StageEnd(self._number, keys=self._keys, timeout=self._timeout)
        return self._driver.bind(room)

    def ping(self) -> int:
        """Answers while another call waits, with the number of the process."""
        return os.getpid()

    def let_go(self) -> None:
        """End what is under way; `bind` and `build` come next."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def build(self, spec: ServerSpec, addresses: Mapping[int, str], driver: str) -> None:
        """Build the server; its weights come in pieces or from a copy, then `settle`."""
        assert self._transport is not None
        assert self._driver is not None
        self._reports, self._copies, self._failure, self._closing = {}, {}, None, False
        self._server = ParameterServer(spec, self._device)
        self._executor = ServerExecutor(self._server, self._transport, self._keep)
        self._transport.connect(addresses)
        self._driver.connect(driver)

    def take_piece(self, number: int, part: Part, names: Sequence[str]) -> None:
        """Copy in a piece of weights or moments that the driver sent: whole tensors, of which it keeps its own."""
        assert self._server is not None
        assert self._driver is not None
        take_up = self._server.load if part == "weights" else self._server.restore
        take_up(self._driver.take(number, part, names))

    def settle(self) -> None:
        """All is there that belongs to this server: answer from now on."""
        assert self._server is not None
        self._server.check_loaded()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def restore(self, copy: Copy) -> None:
        """Take up a copy that this server, or the one that it replaces, made."""
        assert self._server is not None
        self._server.take_up(dict(copy.named_weights()), dict(copy.named_moments()))

    def copy(self, version: int) -> tuple[int, Copy]:
        """What this server owned after `version` updates; waits for them.

        It is kept for a while where it is a multiple of `copy_every`; of other versions there is only the newest.
        """
        assert self._server is not None
        server = self._server
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._failure or version <= server.version, self._timeout)
            if version == server.version:
                self._keep(at_once=True)
            return (version, self._copies[version]) if version in self._copies else NOTHING

    def _keep(self, *, at_once: bool = False) -> None:
        """Copy what is owned now, if it is time to or `at_once`."""
        assert self._server is not None
        server, version = self._server, self._server.version
        if version not in self._copies and (at_once or version % server.spec.copy_every == 0):
            self._copies[version] = Copy.of(server.named_weights(), server.named_moments(), shares=False)
            # The driver asks for one while the next is made.
            for old in sorted(self._copies)[:-2]:
                del self._copies[old]

    def finish(self, version: int) -> ServerReport | None:
        """Wait until the weights have had `version` updates, and tell of the last of them; nothing after `let_go`.

        Raises:
            TimeoutError: gradients did not come in time; names the waves.
        """
        assert self._server is not None
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._failure or version in self._reports, self._timeout)
            if self._failure is not None:
                raise self._failure
            if self._closing:
                return None
            if version not in self._reports:
                raise TimeoutError(
                    f"Parameter server {self._server.spec.server} waited {self._timeout:g} s for "
                    f"{self._server.missing()}, which never came (plan.timeout)."
                )
            return self._reports.pop(version)

    def give_piece(self, number: int, part: Part, first: bool) -> list[str]:
        """Send the driver the first or the next piece of weights or moments; returns its names."""
        assert self._server is not None
        assert self._driver is not None
        if first:
            named = self._server.named_weights() if part == "weights" else self._server.named_moments()
            self._driver.begin(named)
        return self._driver.give(number, part)

    def close(self) -> None:
        self.let_go()
        for way in (self._transport, self._driver):
            if way is not None:
                way.close()

    def _answer(self) -> None:
        assert self._executor is not None
        assert self._transport is not None
        while not self._closing:
            message = self._transport.take_any(GLANCE)
            if message is None:
                continue
            with self._changed:
                try:
                    reports = self._executor.handle(*message)
                except Exception as error:
                    # Raised where the driver waits for it: this thread has nobody to tell.
                    self._failure = error
                    self._changed.notify_all()
                    return
                if reports:
                    self._reports |= {report.version: report for report in reports}
                    self._changed.notify_all()


# Any: which options and methods a remote class has is known to Ray, not to the type checker.
ParameterServerActor: Any = ray.remote(ServerShell)
