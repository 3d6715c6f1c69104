"""The few PDUs and messages that a measuring client needs (PS3.8 9.3, PS3.7 9.3), apart from the node's own.

It shares no code with what it measures, proposes one presentation context, and raises `PeerError` at anything
it did not ask for.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
CALLING_AE_TITLE = "BENCHMARK"
LARGEST_FRAGMENT = 1 << 18  # bytes of one PDV, however much more the peer takes
WRITE = 1 << 20  # bytes gathered for one write to the socket
READ = 1 << 21  # bytes of the buffer that a C-GET's instances are read into


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

    def move(self, sop_class_uid: str, study_instance_uid: str, destination: str) -> dict[int, int]:
        """The final answer to the C-MOVE of a study: the numbers in it by their element."""
        self._retrieve(sop_class_uid, study_instance_uid, _element(0x0600, destination.encode().ljust(16)))
        while True:
            kind, body = _receive_pdu(self.socket)
            answer = _numbers(body) if kind == 4 and body[5] & 1 else {}
            if answer and answer[0x0900] != 0xFF00:
                return answer

    def get(self, sop_class_uid: str, study_instance_uid: str) -> tuple[dict[int, int], int]:
        """The final answer to the C-GET of a study and the bytes of P-DATA that came before it.

        Every C-STORE-RQ is answered with success, its data set read and forgotten.
        """
        self._retrieve(sop_class_uid, study_instance_uid, b"")
        buffer = memoryview(bytearray(READ))
        begin = end = received = 0
        command: dict[int, int] = {}
        while True:
            if end - begin < 12 or end - begin < (skip := 6 + int.from_bytes(buffer[begin + 2 : begin + 6])):
                if begin and READ - begin < 2 * LARGEST_FRAGMENT:
                    buffer[: end - begin] = bytes(buffer[begin:end])
                    begin, end = 0, end - begin
                length = self.socket.recv_into(buffer[end:])
                if not length:
                    raise PeerError("connection closed in the middle of a C-GET")
                end += length
                received += length
                continue
            control = buffer[begin + 11]
            if buffer[begin] != 4:
                raise PeerError(f"PDU type {buffer[begin]:02X}H in the middle of a C-GET")
            if control & 1:
                command = _numbers(bytes(buffer[begin + 6 : begin + skip]))
            if control == 2 and command[0x0100] == 0x0001:
                self.socket.sendall(_stored(command[0x0110]))
            begin += skip
            if begin == end:
                begin = end = 0
            if control & 1 and command[0x0100] == 0x8010 and command[0x0900] != 0xFF00:
                return command, received

    def find(self, sop_class_uid: str, identifier: bytes) -> tuple[int, int]:
        """The status of the last answer to a C-FIND, and how many answers with a match came before it."""
        command = _element(0x0002, _uid(sop_class_uid)) + _element(0x0100, b"\x20\x00")
        command += _element(0x0110, b"\x01\x00") + _element(0x0700, b"\x00\x00")
        command += _element(0x0800, b"\x00\x00")
        self.socket.sendall(_pdu(_group(command), 3) + _pdu(identifier, 2))
        reader = self.socket.makefile("rb", buffering=1 << 16)
        matches = 0
        while True:
            kind, length = struct.unpack(">BxI", reader.read(6))
            body, at = reader.read(length), 0
            if kind != 4:
                raise PeerError(f"PDU type {kind:02X}H instead of a response: {body[:8].hex(' ')}")
            while at < length:
                (size,) = struct.unpack_from(">I", body, at)
                if body[at + 5] & 1:
                    status = _numbers(body[at : at + 4 + size])[0x0900]
                    if status not in (0xFF00, 0xFF01):
                        return status, matches
                    matches += 1
                at += 4 + size

    def _retrieve(self, sop_class_uid: str, study_instance_uid: str, destination: bytes) -> None:
        field = b"\x21\x00" if destination else b"\x10\x00"
        command = _element(0x0002, _uid(sop_class_uid)) + _element(0x0100, field)
        command += _element(0x0110, b"\x01\x00") + destination + _element(0x0700, b"\x00\x00")
        command += _element(0x0800, b"\x00\x00")
        level, uid = b"\x08\x00\x52\x00CS\x06\x00STUDY ", _uid(study_instance_uid)
        identifier = level + struct.pack("<HH2sH", 0x0020, 0x000D, b"UI", len(uid)) + uid
        self.socket.sendall(_pdu(_group(command), 3) + _pdu(identifier, 2))

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
    scp_of: str = "",
    maximum_length: int = 16384,
) -> Established:
    """An association over loopback with one presentation context of one transfer syntax.

    `scp_of` adds a second one, in which we are the SCP (item 54H), for what a C-GET brings back.
    """
    connected = socket.create_connection(("127.0.0.1", port), timeout)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = _item(0x30, abstract_syntax.encode()) + _item(0x40, transfer_syntax.encode())
    contexts = _item(0x20, b"\x03\x00\x00\x00" + context)
    user = _item(0x51, struct.pack(">I", maximum_length)) + _item(0x52, b"2.25.7219042853.99")
    if scp_of:
        context = _item(0x30, scp_of.encode()) + _item(0x40, transfer_syntax.encode())
        contexts += _item(0x20, b"\x05\x00\x00\x00" + context)
        user += _item(0x54, struct.pack(">H", len(scp_of)) + scp_of.encode() + b"\0\1")
    body = struct.pack(
        ">HH16s16s32x", 1, 0, called_ae_title.encode().ljust(16), CALLING_AE_TITLE.encode().ljust(16)
    )
    body += _item(0x10, APPLICATION_CONTEXT.encode())
    body += contexts + _item(0x50, user)
    try:
        connected.sendall(struct.pack(">BBI", 1, 0, len(body)) + body)
        kind, answer = _receive_pdu(connected)
    except (OSError, PeerError):
        connected.close()
        raise
    if kind != 2:
        connected.close()
        raise PeerError(f"association not accepted: PDU type {kind:02X}H {answer[:4].hex(' ')}")
    items = dict(_items(answer[68:]))
    refused = [value[2] for kind, value in _items(answer[68:]) if kind == 0x21 and value[2]]
    if refused:
        connected.close()
        raise PeerError(f"context for {abstract_syntax} {scp_of} refused with result {refused[0]}")
    maximum_length = int.from_bytes(dict(_items(items[0x50]))[0x51], "big") or LARGEST_FRAGMENT + 6
    return Established(connected, min(maximum_length - 6, LARGEST_FRAGMENT) & ~1)


def associate_rq(called_ae_title: str, proposed: Sequence[tuple[str, Sequence[str]]]) -> bytes:
    """An A-ASSOCIATE-RQ: abstract syntaxes with the transfer syntaxes for each, IDs 1, 3, 5 ..."""
    body = struct.pack(
        ">HH16s16s32x", 1, 0, called_ae_title.encode().ljust(16), CALLING_AE_TITLE.encode().ljust(16)
    )
    body += _item(0x10, APPLICATION_CONTEXT.encode())
    for index, (abstract_syntax, transfer_syntaxes) in enumerate(proposed):
        context = _item(0x30, abstract_syntax.encode())
        context += b"".join(_item(0x40, uid.encode()) for uid in transfer_syntaxes)
        body += _item(0x20, bytes((2 * index + 1, 0, 0, 0)) + context)
    body += _item(0x50, _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"2.25.7219042853.99"))
    return struct.pack(">BBI", 1, 0, len(body)) + body


def echo_once(port: int, request: bytes, timeout: float = 60.0) -> None:
    """An association by this A-ASSOCIATE-RQ, C-ECHO in its context 1, release."""
    command = _element(0x0002, _uid(VERIFICATION)) + _element(0x0100, b"\x30\0") + _element(0x0110, b"\1\0")
    value = _group(command + _element(0x0800, b"\1\1"))
    echo = struct.pack(">BBIIBB", 4, 0, len(value) + 6, len(value) + 2, 1, 3) + value
    with socket.create_connection(("127.0.0.1", port), timeout) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pdu, wanted in ((request, 2), (echo, 4), (b"\x05\0\0\0\0\4\0\0\0\0", 6)):
            connected.sendall(pdu)
            kind, body = _receive_pdu(connected)
            if kind != wanted:
                raise PeerError(f"PDU type {kind:02X}H instead of {wanted:02X}H: {body[:8].hex(' ')}")


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


def _numbers(values: bytes) -> dict[int, int]:
    """The elements of a command set in one P-DATA-TF's variable field, as little endian numbers."""
    return {element: int.from_bytes(value[:8], "little") for element, value in _elements(values[6:])}


def _stored(message_id: int) -> bytes:
    """A whole C-STORE-RSP with success, in the second context."""
    command = _element(0x0100, b"\x01\x80") + _element(0x0120, struct.pack("<H", message_id))
    command += _element(0x0800, b"\x01\x01") + _element(0x0900, b"\x00\x00")
    value = _group(command)
    return struct.pack(">BBIIBB", 4, 0, len(value) + 6, len(value) + 2, 5, 3) + value


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _group(fields: bytes) -> bytes:
    return _element(0x0000, struct.pack("<I", len(fields))) + fields


def _uid(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)
