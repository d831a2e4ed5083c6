"""What was measured before, by model, type of device, precision, optimizer and versions: one YAML file each."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.plan.devices import Device
from pipelines.plan.measured import Link, Measured, MeasuredType, Times
from pipelines.plan.measured_file import from_yaml, to_yaml


def default_folder() -> Path:
    """`$MOTLEY_CACHE/measured`, or `~/.cache/motley/measured`."""
    return Path(os.environ.get("MOTLEY_CACHE") or Path.home() / ".cache" / "motley") / "measured"


class Cache:
    """A folder of such files. A person may edit them: what they say is used."""

    def __init__(self, folder: Path, versions: dict[str, str]) -> None:
        self._folder, self._versions = folder, versions

    def units(self, model: str, fingerprint: str, device: Device, precision: str) -> Measured | None:
        """What is known of a model on devices like this one: a Measured of one type; None if nothing is.

        Raises:
            UserError: the file was changed to something that makes no sense.
        """
        return self._read(self._units_path(model, fingerprint, device, precision))

    def keep_units(self, measured: Measured, fingerprint: str, device: Device, precision: str) -> Measured:
        """Write what was measured of one type, and return it as a later run will read it."""
        return self._write(self._units_path(measured.model, fingerprint, device, precision), measured)

    def links(self, ends: Sequence[Device], *, same_node: bool) -> Link | None:
        """What is known of the way between two such devices."""
        found = self._read(self._link_path(ends, same_node))
        return None if found is None or not found.links else found.links[0]

    def keep_link(self, link: Link, ends: Sequence[Device]) -> Link:
        """Write what was measured of a way, and return it as a later run will read it."""
        path = self._link_path(ends, link.same_node)
        return self._write(path, Measured("", (), (), (), (link,), self._versions)).links[0]

    def _units_path(self, model: str, fingerprint: str, device: Device, precision: str) -> Path:
        key = _digest(str(device), precision, *map(str, sorted(self._versions.items())))
        return self._folder / f"{model}-{fingerprint}" / f"{_slug(device.type)}-{precision}-{key}.yaml"

    def _link_path(self, ends: Sequence[Device], same_node: bool) -> Path:
        key = _digest(*sorted(f"{end.type} {end}" for end in ends), *map(str, sorted(self._versions.items())))
        return self._folder / "links" / f"{'within' if same_node else 'between'}-{key}.yaml"

    def _read(self, path: Path) -> Measured | None:
        return from_yaml(path.read_text(encoding="utf-8"), path) if path.is_file() else None

    def _write(self, path: Path, measured: Measured) -> Measured:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = to_yaml(measured)
        # Whole or not at all, whoever else writes it.
        beside = path.with_suffix(f".{os.getpid()}.writing")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
        return from_yaml(text, path)


def merged(known: MeasuredType, times: Sequence[Times]) -> MeasuredType:
    """`known` with other shapes beside its own; where both have one, the new one counts."""
    new = {entry.shape for entry in times}
    kept = [entry for entry in known.times if entry.shape not in new]
    return replace(known, times=tuple(sorted([*kept, *times], key=lambda entry: entry.shape.rows * entry.shape.width)))


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=6).hexdigest()
