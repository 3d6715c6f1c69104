"""PDUs that cannot be (PS3.8 9.3), and timers that run out."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import ExitStack
from pathlib import Path

from pynetdicom.sop_class import CTImageStorage, Verification

from dicomwire.dimse.codec import encode as encode_command
from dicomwire.dimse.command import CEchoRq, CEchoRsp
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.items import ContextResult, ImplementationClassUID, MaximumLength
from dicomwire.upper_layer.pdu import AssociateAc
from tests.interop.scenes.stage import (
    ILE,
    LOOPBACK,
    association,
    raw_client,
    raw_server,
    scene,
    scp,
    storescp,
)


def associate_rq(
    *,
    id: int = 1,
    abstract_syntax: str = Verification,
    name: str = "1.2.840.10008.3.1.1.1",
    protocol_version: int = 1,
    more: bytes = b"",
) -> bytes:
    """An A-ASSOCIATE-RQ as a careless device would write it."""

    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(value)) + value

    context = bytes((id, 0, 0, 0)) + item(0x30, str(abstract_syntax).encode()) + item(0x40, ILE.encode())
    user = item(0x51, struct.pack(">I", 16_384)) + item(0x52, b"1.2.3.4") + more
    body = struct.pack(">HH16s16s32x", protocol_version, 0, b"ANY-SCP".ljust(16), b"RAW".ljust(16))
    body += item(0x10, name.encode()) + item(0x20, context) + item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def associate_ac(result: int = 0, transfer_syntax: str = ILE) -> bytes:
    """The answer to echoscu's request."""
    items = (MaximumLength(16_384), ImplementationClassUID("1.2.3"))
    return encode(AssociateAc("ANY-SCP", "ECHOSCU", (ContextResult(1, result, transfer_syntax),), items))


def c_echo_rq(presentation_context_id: int) -> bytes:
    """C-ECHO-RQ in a P-DATA-TF."""
    return _p_data(encode_command(CEchoRq(1, Verification)), presentation_context_id)


def c_echo_rsp(message_id: int) -> bytes:
    """C-ECHO-RSP in a P-DATA-TF, as an answer to this message."""
    return _p_data(encode_command(CEchoRsp(message_id, 0)), 1)


def _p_data(command: bytes, presentation_context_id: int) -> bytes:
    value = struct.pack(">IBB", len(command) + 2, presentation_context_id, 3) + command
    return struct.pack(">BBI", 4, 0, len(value)) + value


def raw_store(port: int, data_set: bytes, abstract_syntax: str = CTImageStorage) -> None:
    """A C-STORE of a CT in Implicit VR Little Endian, in any context, of bytes that need not be."""

    def element(number: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, number, len(value)) + value

    command = element(0x0002, CTImageStorage.encode() + b"\0") + element(0x0100, b"\x01\0")
    command += element(0x0110, b"\x01\0") + element(0x0700, b"\0\0") + element(0x0800, b"\x01\0")
    command += element(0x1000, b"1.2.3\0")
    command = element(0, struct.pack("<I", len(command))) + command
    values = b"".join(
        struct.pack(">IBB", len(data) + 2, 1, control) + data
        for control, data in ((3, command), (2, data_set))
    )
    raw_client(
        port,
        associate_rq(abstract_syntax=abstract_syntax),
        struct.pack(">BBI", 4, 0, len(values)) + values,
        b"\x05\0\0\0\0\x04\0\0\0\0",
    )


@scene("pdu-unknown-type")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, associate_rq(), b"\x0c\0\0\0\0\x04abcd")
    return port


@scene("pdu-unexpected")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, b"\x05\0\0\0\0\x04\0\0\0\0")
    return port


@scene("pdu-malformed")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    raw_client(port, associate_rq(), b"\x04\0\0\0\0\x10\0\0\x40\0\x01\x03" + bytes(10))
    return port


@scene("pdu-truncated")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
        connection.sendall(associate_rq())
        connection.recv(65_536)
        connection.sendall(b"\x04\0\0\0\x10\0\0\0\x0f\xfc\x01\x01" + bytes(100))
    return port


@scene("pdu-too-long")
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder, "--max-pdu", "4096")
    raw_store(port, bytes.fromhex("080016001a000000") + CTImageStorage.encode() + bytes(9_001))
    return port


@scene("release-collision", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    asked, answered = b"\x05\0\0\0\0\x04\0\0\0\0", b"\x06\0\0\0\0\x04\0\0\0\0"

    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(associate_ac())
        connection.sendall(asked)
        connection.recv(10, socket.MSG_WAITALL)
        connection.recv(10, socket.MSG_WAITALL)
        connection.sendall(answered)

    port = raw_server(stack, answer)
    raw_client(port, associate_rq(), asked, answered)
    return port


@scene("context-id-unknown")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    raw_client(port, associate_rq(), c_echo_rq(77))
    return port


@scene("command-field-missing")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    command = struct.pack("<HHIHHHIH", 0, 0, 4, 10, 0, 0, 0x0800, 0)[:8] + struct.pack("<I", 10)
    command += struct.pack("<HHIH", 0, 0x0800, 2, 0x0101)
    value = struct.pack(">IBB", len(command) + 2, 1, 3) + command
    raw_client(port, associate_rq(), struct.pack(">BBI", 4, 0, len(value)) + value)
    return port


@scene("command-malformed")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    value = struct.pack(">IBB", 13, 1, 3) + bytes.fromhex("00000000ffff0000 616263")
    raw_client(port, associate_rq(), struct.pack(">BBI", 4, 0, len(value)) + value)
    return port


@scene("closed-without-release", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    port = storescp(stack, folder)
    raw_client(port, associate_rq(), c_echo_rq(1))
    return port


@scene("context-id-invalid", verdict=False)
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack)
    raw_client(port, associate_rq(id=2))
    return port


@scene("artim-expired")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack, acse_timeout=3, network_timeout=3)
    raw_client(port, b"", wait=8)
    return port


@scene("idle-timeout")
def _(stack: ExitStack, folder: Path) -> int:
    port = scp(stack, network_timeout=5.5)
    with association(port) as found:
        found.send_c_echo()
        while found.is_established:
            threading.Event().wait(0.1)
    return port
