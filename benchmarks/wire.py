"""The few PDUs and messages that a measuring client needs (PS3.8 9.3, PS3.7 9.3), apart from the node's own.

It shares no code with what it measures, proposes one presentation context, and raises `PeerError` at anything
it did not ask for.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
LARGEST_FRAGMENT = 1 << 18  # bytes of one PDV, however much more the peer takes
WRITE = 1 << 20  # bytes gathered for one write to the socket


class PeerError(Exception):
    """The peer answered otherwise than with what was expected."""


@dataclass(frozen=True, slots=True)
class Established:
    """An association that stands: its socket and the fragment size the peer allows."""

    socket: socket.socket
    fragment: int  # bytes of data in one PDV, even

    def receive_status(self) -> int:
        """The status of the next response."""
        return self.receive_response()[0]

    def receive_response(self) -> tuple[int, str]:
        """The status and the error comment of the next response."""
        kind, body = _receive_pdu(self.socket)
        if kind != 4:
            raise PeerError(f"PDU type {kind:02X}H instead of a response: {body[:8].hex(' ')}")
        elements = dict(_elements(body[6:]))
        if 0x0900 not in elements:
            raise PeerError("a response without Status (0000,0900)")
        return int.from_bytes(elements[0x0900], "little"), elements.get(0x0902, b"").decode().strip()

    def echo(self) -> int:
        """The status of a C-ECHO."""
        fields = _element(0x0002, _uid(VERIFICATION)) + _element(0x0100, b"\x30\x00")
        command = fields + _element(0x0110, b"\x01\x00") + _element(0x0800, b"\x01\x01")
        self.socket.sendall(_pdu(_group(command), 3))
        return self.receive_status()

    def release(self) -> None:
        """Release the association and close its socket."""
        self.socket.sendall(b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00")
        kind, _ = _receive_pdu(self.socket)
        self.socket.close()
        if kind != 6:
            raise PeerError(f"PDU type {kind:02X}H instead of A-RELEASE-RP")


def associate(
    port: int,
    *,
    called_ae_title: str,
    abstract_syntax: str,
    transfer_syntax: str = EXPLICIT,
    timeout: float = 60.0,
) -> Established:
    """An association over loopback with one presentation context of one transfer syntax."""
    connected = socket.create_connection(("127.0.0.1", port), timeout)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = _item(0x30, abstract_syntax.encode()) + _item(0x40, transfer_syntax.encode())
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"2.25.7219042853.99")
    body = struct.pack(">HH16s16s32x", 1, 0, called_ae_title.encode().ljust(16), b"BENCHMARK".ljust(16))
    body += _item(0x10, APPLICATION_CONTEXT.encode())
    body += _item(0x20, b"\x03\x00\x00\x00" + context) + _item(0x50, user)
    connected.sendall(struct.pack(">BBI", 1, 0, len(body)) + body)
    kind, answer = _receive_pdu(connected)
    if kind != 2:
        connected.close()
        raise PeerError(f"association not accepted: PDU type {kind:02X}H {answer[:4].hex(' ')}")
    items = dict(_items(answer[68:]))
    if items[0x21][2] != 0:
        connected.close()
        raise PeerError(f"context for {abstract_syntax} refused with result {items[0x21][2]}")
    maximum_length = int.from_bytes(dict(_items(items[0x50]))[0x51], "big") or LARGEST_FRAGMENT + 6
    return Established(connected, min(maximum_length - 6, LARGEST_FRAGMENT) & ~1)


def store(
    fragment: int, *, message_id: int, sop_class_uid: str, sop_instance_uid: str, data: Iterable[memoryview]
) -> Iterator[bytes]:
    """A whole C-STORE-RQ with its data set as bytes to be written one after the other, about 1 MiB each."""
    command = _element(0x0002, _uid(sop_class_uid)) + _element(0x0100, b"\x01\x00")
    command += _element(0x0110, struct.pack("<H", message_id)) + _element(0x0700, b"\x00\x00")
    command += _element(0x0800, b"\x00\x00") + _element(0x1000, _uid(sop_instance_uid))
    pending = bytearray(_pdu(_group(command), 3))
    ahead = b""
    for value in _fragments(data, fragment):
        if ahead:
            pending += _pdu(ahead, 0)
        ahead = value
        if len(pending) >= WRITE:
            yield bytes(pending)
            pending.clear()
    pending += _pdu(ahead, 2)
    yield bytes(pending)


def _fragments(data: Iterable[memoryview], fragment: int) -> Iterator[bytes]:
    pending = bytearray()
    for piece in data:
        pending += piece
        whole = len(pending) - len(pending) % fragment
        for start in range(0, whole, fragment):
            yield bytes(pending[start : start + fragment])
        del pending[:whole]
    if pending:
        yield bytes(pending)


def _pdu(value: bytes, control: int) -> bytes:
    return struct.pack(">BBIIBB", 4, 0, len(value) + 6, len(value) + 2, 3, control) + value


def _receive_pdu(connected: socket.socket) -> tuple[int, bytes]:
    kind, length = struct.unpack(">BxI", _receive_exactly(connected, 6))
    return kind, _receive_exactly(connected, length)


def _receive_exactly(connected: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        piece = connected.recv(length - len(received))
        if not piece:
            raise PeerError(f"connection closed {length - len(received)} bytes early")
        received += piece
    return received


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        kind, length = struct.unpack(">BxH", data[:4])
        yield kind, data[4 : 4 + length]
        data = data[4 + length :]


def _elements(command: bytes) -> Iterator[tuple[int, bytes]]:
    while command:
        element, length = struct.unpack("<2xHI", command[:8])
        yield element, command[8 : 8 + length]
        command = command[8 + length :]


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _group(fields: bytes) -> bytes:
    return _element(0x0000, struct.pack("<I", len(fields))) + fields


def _uid(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)
