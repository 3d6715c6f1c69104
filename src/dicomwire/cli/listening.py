"""Where commands listen for what a peer brings over an association of its own."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from dicomwire.cli.connection import Peer
from dicomwire.cli.output import Stop

Reports = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="[HOST:]PORT",
        help="Take reports that the peer brings over an association of its own here. Without HOST at the "
        "address that faces the peer.",
    ),
]


def endpoint(text: str, peer: Peer) -> tuple[str, int]:
    """Read `[HOST:]PORT`; without a host it is our address that faces the peer. Raises: Stop."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535):
        raise Stop(f"--listen {text}: {port!r} is no port, which is a number from 1 to 65535", 2)
    return host.strip("[]") or facing(peer), int(port)


def facing(peer: Peer) -> str:
    """Our own address on the way to a peer; nothing is sent to find it."""
    host, port = peer.address.host, peer.address.port
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(where)
            name = probe.getsockname()
    except OSError as error:
        raise Stop(f"{host}: {error.strerror or error}", 1) from error
    return str(name[0])
