"""IP addresses of both versions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from pipelines.inference.masking.reading import Reading

_FOUR = re.compile(r"(?<![0-9A-Za-z.])\d{1,3}(?:\.\d{1,3}){3}(?![0-9A-Za-z]|\.\d)", re.ASCII)
_SIX = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f:.]{2,46}(?![0-9A-Za-z:])")
# Four numbers with dots are as often a version.
_VERSION = re.compile(r"(?:version|ver\.?|release|build|版本)\s*[:=]?\s*$", re.IGNORECASE)
_REACH = 16


def find_hosts(reading: Reading) -> Iterator[tuple[int, int]]:
    """Addresses that may be somebody's: neither this machine's own (127.0.0.1, ::1) nor reserved ones and groups."""
    text = reading.text
    for found in _FOUR.finditer(text):
        start, end = found.span()
        if _is_four(found[0]) and not _VERSION.search(text[max(0, start - _REACH) : start]):
            yield start, end
    for found in _SIX.finditer(text):
        # A sentence may end behind it, or go on with a colon.
        written = found[0].rstrip(".")
        written = written if written.endswith("::") else written.rstrip(":")
        if written.count(":") > 1 and _is_six(written):
            yield found.start(), found.start() + len(written)


def _is_four(text: str) -> bool:
    try:
        return _is_somebodys(IPv4Address(text))
    except AddressValueError:
        return False


def _is_six(text: str) -> bool:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return False
    if address.ipv4_mapped is not None:
        return _is_somebodys(address.ipv4_mapped)
    # `[::2]` and `::name` are code: ::/8 is reserved. Python calls most else reserved that is not given out yet.
    return ("::" not in text or int(address) >> 120 != 0) and not address.is_multicast


def _is_somebodys(address: IPv4Address) -> bool:
    return not (address.is_loopback or address.is_unspecified or address.is_multicast or address.is_reserved)
