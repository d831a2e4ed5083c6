"""The registry as the control plane: whoever can write to it says what is served, from anywhere.

@champion ---> version 4     what is served
@challenger -> version 5     the candidate; its tags say how it is tried
@previous ---> version 3     what was served before

(of another alias than champion, such as small: @small-challenger and @small-previous)

MLflow cannot compare and set. So each write looks first whether the registry still is as its caller thinks, the order
of several leaves every moment between them a state that can be served, and all may be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipelines.mlflow_store import asking, shown

# isort: split
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.inference.registry import ModelRef, aliased, registered
from pipelines.serve_settings import TrialConfig
from pipelines.tracking import tracking_uri
from pipelines.versions.wanted import (
    GATE,
    REFUSED,
    SHADOW,
    SHOWN,
    TRY,
    Challenger,
    Wanted,
    challenger_of,
    gate_of,
    previous_of,
    share_of,
    way,
)


@dataclass(frozen=True, slots=True)
class Version:
    """What the registry says of one version."""

    version: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RegistryView:
    """One registered model. Every method waits for the store, and raises UserError where MLflow cannot be used, or has
    no such model, alias or version."""

    name: str
    alias: str
    """What is served: the champion's alias."""
    tracking_uri: str | None
    gate: TrialConfig = field(default_factory=TrialConfig)
    """For candidates that bring none; what of it was set goes with those that are tried through this view."""

    @property
    def challenger(self) -> str:
        """The alias of the candidate."""
        return challenger_of(self.alias)

    @property
    def previous(self) -> str:
        """The alias of what was served before."""
        return previous_of(self.alias)

    @classmethod
    def of(cls, name: str, config: Config) -> RegistryView:
        return cls(name, config.track.alias, tracking_uri(config.track), config.serve.trial)

    def read(self, served: str | None = None) -> Wanted:
        """What shall be served now, and of the version that is served whether it is refused.

        A candidate whose tags cannot be read is one that is refused: an endpoint that failed over them would follow
        nothing any more.
        """
        with self._asking() as (client, aliases):
            champion = _version(client, self.name, aliases[self.alias])
            refused = _refusal(champion)
            if served is not None and served != aliases[self.alias]:
                refused |= _refusal_if_there(client, self.name, served)
            found: Challenger | None = None
            candidate = aliases.get(self.challenger)
            if candidate is not None and candidate != aliases[self.alias]:
                version = _version(client, self.name, candidate)
                refused |= _refusal(version)
                try:
                    share = share_of(version.tags.get(TRY, SHADOW))
                    found = Challenger(self._ref(candidate), share, gate_of(version.tags.get(GATE), self.gate))
                except UserError as error:
                    found = Challenger(self._ref(candidate), None, self.gate)
                    refused = {candidate: str(error)} | refused
            previous = self._ref(aliases[self.previous]) if self.previous in aliases else None
            return Wanted(self._ref(aliases[self.alias]), found, previous, refused)

    def try_version(self, version: str, *, share: float | None) -> None:
        """Make it the candidate; what it was refused for is forgotten.

        Raises:
            UserError: it is the champion.
        """
        with self._asking() as (client, aliases):
            if version == aliases[self.alias]:
                raise UserError(f"Version {version} of {self.name} is its {self.alias} already: try another.")
            _version(client, self.name, version)
            # What is tried is told last, so that nobody tries it in the way of another time.
            _drop_tags(client, self.name, version, REFUSED, SHOWN, GATE)
            client.set_model_version_tag(self.name, version, TRY, way(share))
            if own := self.gate.model_dump(exclude_unset=True):
                client.set_model_version_tag(self.name, version, GATE, json.dumps(own))
            client.set_registered_model_alias(self.name, self.challenger, version)

    def promote(self, version: str | None = None, *, only_challenger: bool = False) -> str:
        """Make a version, or the candidate, the champion; the former champion becomes `previous`. Returns the version.

        Args:
            only_challenger: do nothing where it is no longer the candidate, as somebody may have given another order.

        Raises:
            UserError: no version is named, and there is no candidate.
        """
        with self._asking() as (client, aliases):
            candidate = aliases.get(self.challenger)
            chosen = version or candidate
            if chosen is None:
                raise UserError(f"{self.name} has no {self.challenger} to promote: name a version, or try one first.")
            _version(client, self.name, chosen)
            if only_challenger and candidate != chosen:
                return chosen
            champion = aliases[self.alias]
            if champion != chosen:
                # A champion that no endpoint took is nothing to go back to.
                if not _refusal(_version(client, self.name, champion)):
                    client.set_registered_model_alias(self.name, self.previous, champion)
                _drop_tags(client, self.name, chosen, REFUSED)
                client.set_registered_model_alias(self.name, self.alias, chosen)
            if candidate == chosen:
                client.delete_registered_model_alias(self.name, self.challenger)
            return chosen

    def remember(self, previous: str) -> None:
        """Name what was served before a champion that came by its alias alone."""
        with self._asking() as (client, aliases):
            if previous != aliases[self.alias]:
                client.set_registered_model_alias(self.name, self.previous, previous)

    def roll_back(self, why: str, *, version: str | None = None, to: str | None = None) -> str:
        """Make `previous` the champion again; why is kept with the version that goes. Returns the version that comes.

        Args:
            version: goes only if it is the champion still; whatever is when left out.
            to: the version that comes, in place of `previous`.

        Raises:
            UserError: there is no `previous`.
        """
        with self._asking() as (client, aliases):
            champion = aliases[self.alias]
            going, coming = version or champion, to or aliases.get(self.previous)
            if going != champion:
                _refuse(client, self.name, going, why)
                return champion
            if coming is None or coming == going:
                raise UserError(
                    f"{self.name} has no {self.previous} version to go back to: promote one "
                    f"(python -m jobs.versions promote {self.name} --version N)."
                )
            _drop_tags(client, self.name, coming, REFUSED)
            client.set_registered_model_alias(self.name, self.alias, coming)
            _refuse(client, self.name, going, why)
            # Else going back twice would bring back what was bad.
            if self.previous in aliases:
                client.delete_registered_model_alias(self.name, self.previous)
            return coming

    def refuse(self, version: str, why: str) -> None:
        """No endpoint serves or tries it any more; as a candidate it is dropped."""
        with self._asking() as (client, aliases):
            _refuse(client, self.name, version, why)
            if aliases.get(self.challenger) == version:
                client.delete_registered_model_alias(self.name, self.challenger)

    def give_up(self, why: str) -> str:
        """Drop the candidate. Returns its version.

        Raises:
            UserError: there is none.
        """
        with self._asking() as (client, aliases):
            if self.challenger not in aliases:
                raise UserError(f"{self.name} has no {self.challenger} to drop: there is {', '.join(sorted(aliases))}.")
            _refuse(client, self.name, aliases[self.challenger], why)
            client.delete_registered_model_alias(self.name, self.challenger)
            return aliases[self.challenger]

    def show(self, version: str, facts: Mapping[str, Any]) -> None:
        """Keep what a candidate has shown so far, for whoever lists the versions."""
        with self._asking() as (client, _):
            _set_tag(client, self.name, version, SHOWN, json.dumps(dict(facts)))

    def versions(self) -> list[Version]:
        """All of them, the newest first."""
        with self._asking() as (client, aliases):
            # A search leaves the aliases out.
            found = client.search_model_versions(f"name = '{self.name}'")
            return [
                Version(number, tuple(sorted(alias for alias, of in aliases.items() if of == number)), dict(one.tags))
                for number, one in sorted(((str(one.version), one) for one in found), key=lambda pair: -int(pair[0]))
            ]

    @contextmanager
    def _asking(self) -> Iterator[tuple[MlflowClient, dict[str, str]]]:
        """A client, and the aliases as they are now; the champion's is among them."""
        with asking(self.tracking_uri) as uri:
            client = MlflowClient(uri)
            model = registered(client, self.name, shown(uri))
            aliased(model, self.alias)
            yield client, {alias: str(version) for alias, version in model.aliases.items()}

    def _ref(self, version: str) -> ModelRef:
        return ModelRef(self.name, version, f"models:/{self.name}/{version}")


def _version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    raise UserError(
        f"{name} has no version {version[:20]}: `python -m jobs.versions list {name}` shows those there are."
    )


def _refusal(version: ModelVersion) -> dict[str, str]:
    return {str(version.version): version.tags[REFUSED]} if REFUSED in version.tags else {}


def _refusal_if_there(client: MlflowClient, name: str, version: str) -> dict[str, str]:
    try:
        return _refusal(_version(client, name, version))
    except UserError:
        return {}


def _refuse(client: MlflowClient, name: str, version: str, why: str) -> None:
    _set_tag(client, name, version, REFUSED, why[:2000])


def _set_tag(client: MlflowClient, name: str, version: str, key: str, value: str) -> None:
    try:
        client.set_model_version_tag(name, version, key, value)
    except MlflowException as error:
        # Deleted meanwhile: there is nothing left to say it of.
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _drop_tags(client: MlflowClient, name: str, version: str, *keys: str) -> None:
    there = client.get_model_version(name, version).tags
    for key in set(keys) & set(there):
        client.delete_model_version_tag(name, version, key)
