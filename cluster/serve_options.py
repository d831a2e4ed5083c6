"""What the replicas of an endpoint need to know."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.inference.access import Access
from pipelines.inference.hiding import Hiding
from pipelines.inference.listener import Listen
from pipelines.serve_settings import ScaleConfig


@dataclass(frozen=True, slots=True)
class ServeOptions:
    model: str
    """`models:/NAME/VERSION` or a folder, as served at the start."""
    tracking_uri: str | None
    key_sha256: str | None
    """The single key's SHA-256 in hex (`pipelines.inference.credentials.hash_key`), never the key; None where it is no
    way in."""
    follows: str | None = None
    """The alias (`models:/NAME@ALIAS`) whose version is served, if it changes."""
    replicas: int = 1
    """Workers; `scale` decides where it is given."""
    scale: ScaleConfig | None = None
    cpus_per_replica: float = 1
    max_batch_size: int = 32
    batch_wait_ms: float = 5
    max_wait_seconds: float = 30
    max_inputs: int = 256
    max_characters: int = 20_000
    access: Access = field(default_factory=Access)
    """The other ways in, and what else is asked of callers; without any way nobody is asked for a credential."""
    hiding: Hiding = field(default_factory=Hiding)
    """What of the answers can be masked."""
    listen: Listen | None = None
    """Where the front listens by itself; by Ray Serve's proxies when left out."""
