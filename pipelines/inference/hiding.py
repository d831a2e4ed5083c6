"""What of an endpoint's answers can be masked, as the configuration says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import UserError
from pipelines.inference.masking.answers import MaskAsked, Masks, masks
from pipelines.inference.masking.finders import Rules
from pipelines.inference.masking.tokens import read_key
from pipelines.serve_settings import MaskConfig


@dataclass(frozen=True, slots=True)
class Hiding:
    """Of one endpoint."""

    rules: Rules = field(default_factory=Rules)
    key_file: str | None = None

    @classmethod
    def of(cls, settings: MaskConfig) -> Hiding:
        """
        Raises:
            UserError: a region or a kind that is none, or a key file that holds no key.
        """
        types = dict.fromkeys(settings.entity_types, "name")
        made = cls(
            Rules(regions=settings.regions, entity_types=types),
            str(Path(settings.key_file).expanduser().absolute()) if settings.key_file else None,
        )
        made.key()
        return made

    def key(self) -> bytes | None:
        """What reversible tokens are sealed with; None where there are none. Read where it is used: it is a secret.

        Raises:
            UserError: the file cannot be read, or holds no key.
        """
        if self.key_file is None:
            return None
        try:
            text = Path(self.key_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UserError(f"serve.mask.key_file cannot be read ({reason}): {self.key_file}.") from None
        return read_key(text)

    def masks(self, asked: MaskAsked, key: bytes | None) -> Masks | None:
        """What masks the outputs of one request; None where nothing is to be masked.

        Raises:
            UserError: it asks for a kind that is not masked here, or for reversible tokens without a key.
        """
        return masks(asked, self.rules, key)
