"""What the replicas of an endpoint need to know."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.inference.access import Access
from pipelines.inference.hiding import Hiding
from pipelines.inference.listener import Listen
from pipelines.line.keys import LineKeys
from pipelines.serve_settings import ServeConfig
from pipelines.versions.registry_view import RegistryView


@dataclass(frozen=True, slots=True)
class ServeOptions:
    model: str
    """`models:/NAME/VERSION` or a folder, as served at the start."""
    tracking_uri: str | None
    key_sha256: str | None
    """The single key's SHA-256 in hex (`pipelines.inference.credentials.hash_key`), never the key; None where it is no
    way in."""
    settings: ServeConfig = field(default_factory=ServeConfig)
    """Of these only what says how much and how fast: who may ask is in `access`, with whole paths."""
    follows: RegistryView | None = None
    """Where the versions to serve are told; None serves `model` for ever."""
    access: Access = field(default_factory=Access)
    """The other ways in, and what else is asked of callers; without any way nobody is asked for a credential."""
    hiding: Hiding = field(default_factory=Hiding)
    """What of the answers can be masked."""
    listen: Listen | None = None
    """Where the front listens by itself; by Ray Serve's proxies when left out."""
    line_keys: LineKeys = field(default_factory=LineKeys.new)
    """Of the lines between the front and its workers."""
