"""Several replicas and their parameter servers: made together, ended together. cluster/leg.py runs their steps."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import ray
from ray.util.placement_group import remove_placement_group
from torch import Tensor

from cluster.actors import Seat
from cluster.copies import Copies, Copy, Salvaged
from cluster.crew import Reserved, StageCrew
from cluster.data_crew import DataCrew, Refs
from cluster.fleet import Landed, Rejoined, Start, Work
from cluster.handover import Named
from cluster.keepers import Keepers
from cluster.leg import Leg, shares_of
from cluster.phases import Phases
from cluster.placement import Wanted, reserve, stands
from cluster.roll_call import Lost
from cluster.server_crew import ServerCrew
from cluster.spares import Spares
from cluster.transport import Keys
from pipelines.model.load import DTYPES
from pipelines.plan_settings import PlanConfig
from pipelines.train.optimizers import by_value
from pipelines.train.parameter_server import ServerSpec
from pipelines.train.parameter_shards import cut_pieces, share_out
from pipelines.train.rates import rates_of
from pipelines.train.specs import StageSpec, held


class Replicas:
    """The stages of all replicas, and the servers."""

    def __init__(
        self,
        config: PlanConfig,
        devices: Sequence[Sequence[Wanted]],
        servers: Sequence[Wanted],
        task: str,
        data: DataCrew,
        *,
        may_grow: bool,
        copy_every: int,
        spares: Spares,
    ) -> None:
        """Reserve everything at once and start the actors, without waiting for them.

        Args:
            devices: of each replica's stages.
            servers: of each parameter server.
            copy_every: updates from one copy of the weights to the next.
            spares: who may take a lost stage's place; ended with all others.

        Raises:
            UserError: the cluster has not got what the plan asks for.
        """
        self._config, self._data, self._timeout = config, data, config.timeout
        *firsts, behind = accumulate((len(own) for own in devices), initial=0)
        self._wanted = [device for own in (*devices, servers) for device in own]
        self._group, keys = reserve(self._wanted, may_grow=may_grow, timeout=config.timeout), Keys.new()
        self._crews = [
            StageCrew(
                own,
                task,
                may_grow=may_grow,
                timeout=config.timeout,
                reserved=Reserved(r, self._group, first, keys),
                spares=spares,
            )
            for r, (own, first) in enumerate(zip(devices, firsts, strict=True))
        ]
        self._servers = ServerCrew(servers, group=self._group, first_bundle=behind, keys=keys, timeout=config.timeout)
        self._version, self._renewed = 0, -1
        self._spares = spares
        self._keepers = Keepers()
        self._copies = Copies(copy_every, self._keepers.keep)
        self._shares = shares_of(config)

    # -- getting ready --------------------------------------------------------------------------

    def meet(self) -> list[Seat]:
        seats = [seat for crew in self._crews for seat in crew.meet()]
        self._server_seats = self._servers.meet()
        self._keepers.sit(self._servers.nodes)
        together = len({seat.node for seat in [*seats, *self._server_seats]}) == 1
        room = f"motley-{secrets.token_hex(8)}" if together else None
        self._stage_ways = {n: way for crew in self._crews for n, way in crew.listen_to_servers(room).items()}
        self._server_ways = self._servers.listen(room)
        return seats

    def build(self, start: Start) -> None:
        self._plan(start)
        self._version = start.version
        owned = [start.state(list(dict.fromkeys(piece.name for piece in pieces))) for pieces in self._owners]
        self._join(start, owned)

    @property
    def nodes(self) -> frozenset[str]:
        of_stages = [crew.nodes for crew in self._crews]
        return frozenset(node for nodes in (*of_stages, self._servers.nodes) for node in nodes.values())

    def stands(self, there: Collection[str], seconds: float) -> bool:
        return stands(self._group, self._wanted, there, seconds)

    def salvage(self) -> Salvaged | None:
        return self._copies.salvage(self._timeout)

    def replace_lost(self, seconds: float) -> list[Lost]:
        for crew in self._crews:
            crew.interrupt()
        self._servers.interrupt()
        lost = [one for crew in self._crews for one in crew.replace_lost(seconds)]
        return lost + self._servers.replace_lost(seconds)

    def rejoin(self, start: Start) -> Rejoined:
        clock = Phases()
        self.meet()
        clock.end("started")
        found = self._copies.newest()
        if found is None:
            for crew in self._crews:
                crew.forget()
            self.build(start)
            clock.end("built")
            return Rejoined(self._version, clock.seconds)
        self._version, copies = found
        self._join(start, copies)
        clock.end("built")
        for crew in self._crews:
            crew.restore([copies] * crew.num_stages)
        self._copies.trust()
        clock.end("restored")
        return Rejoined(self._version, clock.seconds)

    def _plan(self, start: Start) -> None:
        """Who owns which piece of the parameters: the same at every call."""
        plain = start.replicas[0].make_specs(())[0]
        whole = not by_value(plain.train)
        cut = cut_pieces(start.shapes, itemsize=DTYPES[plain.dtype].itemsize, whole=whole)
        self._start, self._plain, self._owners = start, plain, share_out(cut, len(self._servers))

    def _join(self, start: Start, state: Any) -> None:
        """Build all that is not built, and let all get to know each other.

        Args:
            state: the servers', see `ServerCrew.build`.
        """
        tables = set[str]()
        for crew, replica in zip(self._crews, start.replicas, strict=True):
            specs = replica.make_specs(self._owners)
            # The optimizer's state is the servers'.
            states: list[tuple[Named, Named]] = [(start.state(held(s.units, s))[0], ()) for s in specs]
            for names in crew.build(specs, start.padding, states, self._server_ways):
                tables.update(names)
        specs_of = [self._server_spec(k, self._plain, frozenset(tables)) for k in range(len(self._owners))]
        self._servers.build(specs_of, self._stage_ways | self._server_ways, state)
        self._renewed = -1
        self._copies.start(self._version, self._servers.copy, at_once=True)

    def _server_spec(self, k: int, plain: StageSpec, tables: frozenset[str]) -> ServerSpec:
        return ServerSpec(
            server=k,
            num_servers=len(self._owners),
            pieces=self._owners[k],
            tables=tables,
            dtype=plain.dtype,
            train=plain.train,
            num_steps=plain.num_steps,
            rates=rates_of(plain.units, plain.train.layer_decay),
            version=self._version,
            copy_every=self._copies.every,
            in_order=self._config.sharing != "async",
            settled=self._config.sharing == "sync",
        )

    def describe(self, stages: Sequence[Sequence[Mapping[str, Any]]], seats: Sequence[Seat]) -> dict[str, Any]:
        every = [(r, stage) for r, own in enumerate(stages) for stage in own]
        return {
            "stages": [{**stage, "replica": r, **seat.facts()} for (r, stage), seat in zip(every, seats, strict=True)],
            "replicas": len(self._crews),
            "sharing": self._config.sharing,
            "staleness": self._config.staleness if self._config.sharing == "bounded" else None,
            "shares": self._shares,
            "servers": [
                {
                    "server": k,
                    "assigned": seat.device,
                    "pieces": len(owned),
                    "parameters": sum(piece.size for piece in owned),
                }
                for k, (owned, seat) in enumerate(zip(self._owners, self._server_seats, strict=True))
            ],
        }

    # -- steps ----------------------------------------------------------------------------------

    def run(self, works: Iterator[Work]) -> Iterator[Landed]:
        leg = Leg(self._config, self._start, self._crews, self._servers, self._data, self._version)
        for landed in leg.run(works):
            self._version = landed.version
            if self._copies.start(self._version, self._servers.copy):
                self._spares.fill()
            yield landed

    # -- evaluation and state -------------------------------------------------------------------

    def start_evaluation(self, call: int, parts: Refs) -> list[ray.ObjectRef[Any]]:
        if self._renewed != self._version:
            self._crews[0].renew(self._version)
            self._renewed = self._version
        return self._crews[0].start_evaluation(call, parts)

    def finish_evaluation(self, refs: Sequence[ray.ObjectRef[Any]]) -> list[Any]:
        return self._crews[0].finish_evaluation(refs)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        return self._servers.weights()

    def moments(self) -> Iterator[tuple[str, Tensor]]:
        return self._servers.moments()

    def copies(self) -> list[ray.ObjectRef[Copy]]:
        return self._copies.now(self._version, self._servers.copy, timeout=self._timeout)

    def close(self) -> None:
        for crew in self._crews:
            crew.close()
        self._spares.close()
        self._keepers.close()
        self._servers.close()
        remove_placement_group(self._group)
