"""Who keeps what goes over a connection, for diagnosis: the doctor, the flight recorder."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from dicomwire.upper_layer.pdu import Buffer

Endpoint: TypeAlias = tuple[str, int]  # numeric address, port


class Recorder(Protocol):
    """Who keeps what goes over a connection; the bytes are valid during the call only."""

    def opened(self, client: Endpoint, server: Endpoint) -> None:
        """The TCP connection is there."""

    def received(self, data: memoryview) -> None:
        """The peer's bytes: those of the TLS handshake, then what was decrypted."""

    def sent(self, buffers: Sequence[Buffer]) -> None:
        """Our bytes, likewise."""

    def secured(self) -> None:
        """The TLS handshake is complete."""

    def failed(self, error: ssl.SSLError) -> None:
        """TLS failed."""

    def closed(self, *, by_peer: bool, error: Exception | None) -> None:
        """The connection ends; the first call says who began it."""


def ends(transport: asyncio.Transport, *, server: bool) -> tuple[Endpoint, Endpoint]:
    """Client's and server's address and port."""
    own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    ends = [(name[0], name[1]) if isinstance(name, tuple) else ("", 0) for name in (own, peer)]
    return (ends[1], ends[0]) if server else (ends[0], ends[1])
