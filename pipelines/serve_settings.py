"""What the configuration says of the endpoint: where it listens, whom it answers, and how much at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.section import Section


class ServeConfig(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    auth: Literal["key", "none"] = "key"
    """`key` asks for `Authorization: Bearer KEY` (MOTLEY_API_KEY, or a new one that is printed)."""
    replicas: int = Field(default=1, ge=1)
    cpus_per_replica: float = Field(default=1, gt=0)
    max_batch_size: int = Field(default=32, ge=1)
    """Most inputs in one pass through the model."""
    batch_wait_ms: float = Field(default=5, ge=0)
    """How long a request waits at most for others to share its pass; never longer than starting a pass takes here."""
    max_wait_seconds: float = Field(default=30, gt=0)
    """Seconds of work that may wait in a replica; what comes then is answered 503, with a time to come again."""
    max_inputs: int = Field(default=256, ge=1)
    """Most inputs in one request."""
    max_characters: int = Field(default=20_000, ge=1)
    """Longest input in one request."""
