"""TCP that fails, and other protocols on the port."""

from __future__ import annotations

import socket
import struct
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

from pynetdicom.sop_class import (
    CTImageStorage,
)

from benchmarks.receivers import free_port
from dicomwire.upper_layer.codec import decode, encode
from dicomwire.upper_layer.negotiation import AcceptorPolicy, negotiate
from dicomwire.upper_layer.pdu import AssociateRq
from tests.interop.scenes.stage import (
    CT,
    ELE,
    ILE,
    LOOPBACK,
    association,
    echoscu,
    image,
    raw_client,
    raw_server,
    run,
    scene,
    storescp,
)
from tests.interop.scenes.upper_layer import associate_rq


@scene("tcp-refused")
def _(stack: ExitStack, folder: Path) -> int:
    port = free_port()
    echoscu(port)
    return port


@scene("tcp-closed-before-answer")
def _(stack: ExitStack, folder: Path) -> int:
    port = raw_server(stack, lambda connection: connection.recv(65_536) and None)
    echoscu(port)
    return port


def _reset(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@scene("tcp-reset")
def _(stack: ExitStack, folder: Path) -> int:
    port = raw_server(stack, _reset)
    echoscu(port)
    return port


@scene("tcp-stalled")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        head = connection.recv(6, socket.MSG_WAITALL)
        body = connection.recv(int.from_bytes(head[2:], "big"), socket.MSG_WAITALL)
        request = decode(head[0], body)
        assert isinstance(request, AssociateRq)
        connection.sendall(
            encode(negotiate(request, AcceptorPolicy(supported={CTImageStorage: (ELE, ILE)})).answer)
        )
        threading.Event().wait(4)  # it stops reading, as a receiver does whose disk hangs

    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        listener.settimeout(15)
        port = int(listener.getsockname()[1])

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        sent = image()
        sent.Rows = sent.Columns = 1_400
        sent.PixelData = bytes(2 * 1_400 * 1_400)
        with association(port, CTImageStorage) as found, suppress(Exception):
            found.send_c_store(sent)
        thread.join(10)
    return port


@scene("delayed-ack-stall", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    run("storescu", LOOPBACK, str(port), *[CT] * 4)
    return port


@scene("http-server-on-port")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.0 400 Bad request\r\nContent-Type: text/html\r\n\r\n<html></html>")

    port = raw_server(stack, answer)
    echoscu(port)
    return port


@scene("http-client-on-port")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    with suppress(OSError, urllib.error.URLError):
        urllib.request.urlopen(f"http://{LOOPBACK}:{port}/", timeout=2)
    return port


@scene("hl7-on-port")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, b"\x0bMSH|^~\\&|HIS|KIS|RIS|KIS|202601010000||ADT^A01|1|P|2.3\r\x1c\r")
    return port


@scene("ssh-on-port")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        connection.recv(65_536)

    port = raw_server(stack, answer)
    echoscu(port)
    return port


@scene("not-dicom")
def _(stack: ExitStack, folder: Path) -> int:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"220 mail.example ESMTP ready\r\n")
        connection.recv(65_536)

    port = raw_server(stack, answer)
    echoscu(port)
    return port


@scene("proxy-header")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, b"PROXY TCP4 10.1.1.1 10.1.1.2 40000 104\r\n" + associate_rq())
    return port
