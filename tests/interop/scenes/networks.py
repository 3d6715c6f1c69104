"""Faults of the network between two machines, and of the recording itself."""

from __future__ import annotations

import http.server
import socket
import struct
import subprocess
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from pynetdicom import evt
from pynetdicom.sop_class import CTImageStorage

from benchmarks.receivers import system_program
from tests.interop.network import CLIENT, CLIENT_ADDRESS, SERVER, SERVER_ADDRESS, SERVER_ADDRESS_6, Network
from tests.interop.scenes.stage import (
    CT,
    association,
    echoscu,
    image,
    network_scene,
    raw_client,
    raw_server,
    run,
    scp,
    storescp,
)
from tests.interop.scenes.upper_layer import associate_rq

PORT = 11_112
TAKES = (evt.EVT_C_STORE, lambda event: 0x0000)
NO_NAMES = (
    "--disable-host-lookup"  # else storescp asks for a name before it answers, and there is nobody to ask
)
NAME = "pacs.hospital.example"
UNANSWERED = 4.0  # seconds in which a lost segment is sent again several times


def echo(host: str = SERVER_ADDRESS, port: int = PORT) -> None:
    echoscu(port, host=host)


@network_scene("tcp-no-answer")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    network.drop("10.77.2.9")
    with network.recording():
        run("echoscu", "-to", "4", "10.77.2.9", str(PORT))


@network_scene("icmp-unreachable")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    network.refuse("10.77.2.9", "unreachable")
    with network.recording():
        echo("10.77.2.9")


@network_scene("icmp-unreachable", "a firewall that says no")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    network.refuse("10.77.2.9", "prohibit")
    with network.recording():
        echo("10.77.2.9")


@network_scene("icmp-unreachable", "icmp-unreachable, IPv6")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    network.refuse("fd77:2::9", "unreachable")
    with network.recording(), suppress(OSError):
        raw_client(PORT, host="fd77:2::9")


@network_scene("tcp-half-open")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        port = scp(stack, host=SERVER_ADDRESS)
    with network.recording(), association(port, host=SERVER_ADDRESS) as found:
        found.send_c_echo()
        network.drop(SERVER_ADDRESS)
        network.drop(CLIENT_ADDRESS)
        found.dimse_timeout = UNANSWERED
        found.send_c_echo()


@network_scene("path-mtu")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    network.narrow()
    with network.inside(SERVER):
        port = storescp(stack, folder, NO_NAMES)
    with network.recording():
        echo(port=port)
        with suppress(subprocess.TimeoutExpired):
            run("storescu", SERVER_ADDRESS, str(port), CT, timeout=UNANSWERED)


def name_server(stack: ExitStack, code: int) -> None:
    """Answers every question with this code (RFC 1035 4.1.1)."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((SERVER_ADDRESS, 53))
    listener.settimeout(15)
    stack.callback(listener.close)

    def serve() -> None:
        with suppress(OSError):
            while True:
                question, sender = listener.recvfrom(512)
                listener.sendto(
                    question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, 0, 0, 0) + question[12:], sender
                )

    threading.Thread(target=serve, daemon=True).start()


def echo_by_name(network: Network, name_server: str) -> None:
    echoscu = system_program("echoscu") or "echoscu"
    with network.name_server(name_server) as started, network.recording():
        subprocess.run([*started, echoscu, NAME, str(PORT)], capture_output=True, check=False, timeout=30)


@network_scene("name-not-resolved")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        name_server(stack, code=3)
    echo_by_name(network, SERVER_ADDRESS)


@network_scene("name-not-resolved", "a name server that cannot answer")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        name_server(stack, code=2)
    echo_by_name(network, SERVER_ADDRESS)


@network_scene("name-not-resolved", "a name server that is not there")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    echo_by_name(network, SERVER_ADDRESS)


@network_scene("name-not-resolved", "a name server behind a firewall")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    network.drop("10.77.2.53")
    echo_by_name(network, "10.77.2.53")


# -- the recording itself


@network_scene("capture-starts-late")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        port = scp(stack, CTImageStorage, handlers=[TAKES], host=SERVER_ADDRESS)
    with (
        network.inside(CLIENT),
        association(port, CTImageStorage, host=SERVER_ADDRESS) as found,
        network.recording(),
    ):
        found.send_c_store(image())


@network_scene("capture-gap")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        port = storescp(stack, folder, NO_NAMES)
    # What the server says in P-DATA-TF is not recorded: so it looks where a mirror port drops packets.
    answers = f"src port {port} and tcp[((tcp[12] & 0xf0) >> 2)] = 4"
    with network.recording(wanted=f"tcp and not ({answers})"):
        echo(port=port)


@network_scene("capture-truncated")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        port = storescp(stack, folder, NO_NAMES)
    with network.recording("-s", "96"):
        run("storescu", SERVER_ADDRESS, str(port), CT)


@network_scene("capture-one-sided")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        port = storescp(stack, folder, NO_NAMES)
    with network.recording(wanted=f"src host {CLIENT_ADDRESS}"):
        echo(port=port)


@network_scene("capture-ends-early")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    quiet = threading.Event()
    stack.callback(quiet.set)
    with network.inside(SERVER):
        port = raw_server(stack, lambda connection: quiet.wait(10) and None, host=SERVER_ADDRESS)
    with (
        network.inside(CLIENT),
        socket.create_connection((SERVER_ADDRESS, port)) as connection,
        network.recording(),
    ):
        connection.sendall(associate_rq())


@network_scene("capture-no-dicom")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        server = http.server.HTTPServer((SERVER_ADDRESS, 8_080), http.server.BaseHTTPRequestHandler)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with network.recording():
        raw_client(8_080, b"GET / HTTP/1.0\r\n\r\n", host=SERVER_ADDRESS)


# -- clean traffic


@network_scene("", "a store over IPv6")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        port = scp(stack, CTImageStorage, handlers=[TAKES], host=SERVER_ADDRESS_6)
    with network.recording(), association(port, CTImageStorage, host=SERVER_ADDRESS_6) as found:
        found.send_c_store(image())


@network_scene("", "a store through a router")
def _(network: Network, stack: ExitStack, folder: Path) -> None:
    with network.inside(SERVER):
        port = storescp(stack, folder, NO_NAMES)
    with network.recording():
        echo(port=port)
        run("storescu", SERVER_ADDRESS, str(port), CT, CT)
