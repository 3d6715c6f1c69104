"""Captures composed of PDUs: what real peers put on the wire, without the peers."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import ip_address

from dicomwire.diagnose.explain import Explanation, explain
from dicomwire.diagnose.finding import Story
from dicomwire.dimse.codec import encode as encode_command
from dicomwire.dimse.command import Command
from dicomwire.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.items import (
    ContextResult,
    ImplementationClassUID,
    MaximumLength,
    ProposedContext,
    UserItem,
)
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRq, Pdu

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
BEGIN = 1_700_000_000.0
SEGMENT = 1_448
ITEMS: tuple[UserItem, ...] = (MaximumLength(16_384), ImplementationClassUID("1.2.3"))


def rq(
    *contexts: tuple[int, str, tuple[str, ...]],
    items: tuple[UserItem, ...] = ITEMS,
    calling: str = "SCU",
    called: str = "SCP",
    **fields: object,
) -> AssociateRq:
    proposed = contexts or ((1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),)
    return AssociateRq(
        called,
        calling,
        tuple(ProposedContext(*context) for context in proposed),
        items,
        **fields,  # type: ignore[arg-type]
    )


def ac(*results: tuple[int, int, str], items: tuple[UserItem, ...] = ITEMS) -> AssociateAc:
    answered = results or ((1, 0, IMPLICIT_VR_LITTLE_ENDIAN),)
    return AssociateAc("SCP", "SCU", tuple(ContextResult(*result) for result in answered), items)


def p_data(control: int, data: bytes, context: int = 1, limit: int = 16_378) -> bytes:
    """A command (1) or data set (0) in P-DATA-TF PDUs of one value each."""
    parts = []
    for start in range(0, max(1, len(data)), limit):
        part = data[start : start + limit]
        last = 2 if start + limit >= len(data) else 0
        parts.append(
            struct.pack(">BBIIBB", 4, 0, len(part) + 6, len(part) + 2, context, control | last) + part
        )
    return b"".join(parts)


def message(command: Command, data_set: bytes | None = None, context: int = 1) -> bytes:
    sent = p_data(1, encode_command(command), context)
    return sent if data_set is None else sent + p_data(0, data_set, context)


def element(tag: int, value: bytes | str, *, vr: str = "") -> bytes:
    """An element in Implicit VR Little Endian, or in Explicit with a short VR."""
    data = value.encode() if isinstance(value, str) else value
    data += b" " * (len(data) & 1) if not isinstance(value, bytes) else b""
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr:
        return head + vr.encode() + struct.pack("<H", len(data)) + data
    return head + struct.pack("<I", len(data)) + data


@dataclass
class Talk:
    """One TCP connection; 0 is the client, 1 the server."""

    wire: Wire
    client: tuple[str, int]
    server: tuple[str, int]
    next: list[int] = field(default_factory=lambda: [1_000, 900_000])

    def packet(
        self,
        who: int,
        flags: int,
        data: bytes = b"",
        *,
        sequence: int | None = None,
        window: int = 65_535,
        lost: bool = False,
        cut: int | None = None,
    ) -> None:
        """One segment; lost: it was sent and is not in the capture; cut: bytes of data that are."""
        source, destination = (self.client, self.server) if who == 0 else (self.server, self.client)
        at = self.next[who] if sequence is None else sequence
        if sequence is None:
            self.next[who] += len(data) + bool(flags & (SYN | FIN))
        ack = self.next[1 - who] & 0xFFFFFFFF if flags & ACK else 0
        tcp = struct.pack(
            ">HHIIBBHHH", source[1], destination[1], at & 0xFFFFFFFF, ack, 0x50, flags, window, 0, 0
        )
        if not lost:
            self.wire.ip(source[0], destination[0], 6, tcp + data, cut=None if cut is None else 20 + cut)

    def open(self) -> Talk:
        self.packet(0, SYN)
        self.packet(1, SYN | ACK)
        self.packet(0, ACK)
        return self

    def send(self, who: int, data: bytes | Pdu, *, wait: float = 0.0001, lost: bool = False) -> Talk:
        """Bytes in full-sized segments, acknowledged at the end."""
        self.wire.now += wait
        sent = data if isinstance(data, bytes) else encode(data)
        for start in range(0, len(sent), SEGMENT):
            self.packet(who, PSH | ACK, sent[start : start + SEGMENT], lost=lost)
        self.packet(1 - who, ACK)
        return self

    def ask(self, data: bytes | Pdu, wait: float = 0.0001) -> Talk:
        return self.send(0, data, wait=wait)

    def answer(self, data: bytes | Pdu, wait: float = 0.0001) -> Talk:
        return self.send(1, data, wait=wait)

    def close(self, who: int = 0, *, wait: float = 0.0001) -> Talk:
        self.wire.now += wait
        self.packet(who, FIN | ACK)
        self.packet(1 - who, FIN | ACK)
        self.packet(who, ACK)
        return self

    def reset(self, who: int, *, wait: float = 0.0001) -> Talk:
        self.wire.now += wait
        self.packet(who, RST | ACK)
        return self


@dataclass
class Wire:
    """A capture in the making: Ethernet, pcap, microseconds."""

    now: float = BEGIN
    frames: list[tuple[float, bytes, int]] = field(default_factory=list)
    ports: int = 40_000

    def talk(self, port: int = 11_112, *, client: str = "10.0.0.1", server: str = "10.0.0.2") -> Talk:
        self.ports += 1
        return Talk(self, (client, self.ports), (server, port))

    def open(self, port: int = 11_112, *, client: str = "10.0.0.1", server: str = "10.0.0.2") -> Talk:
        return self.talk(port, client=client, server=server).open()

    def ip(self, source: str, destination: str, protocol: int, data: bytes, cut: int | None = None) -> None:
        one, other = ip_address(source), ip_address(destination)
        if one.version == 4:
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, protocol, 0)
            head = b"\0" * 12 + b"\x08\0" + head + one.packed + other.packed
        else:
            head = struct.pack(">IHBB", 6 << 28, len(data), protocol, 64) + one.packed + other.packed
            head = b"\0" * 12 + b"\x86\xdd" + head
        self.frame(head + data, None if cut is None else len(head) + cut)

    def frame(self, data: bytes, captured: int | None = None) -> None:
        self.now += 0.00001
        self.frames.append((self.now, data[:captured], len(data)))

    def pcap(self, *, order: str = "<", link_type: int = 1, nanoseconds: bool = False) -> bytes:
        magic, unit = (0xA1B23C4D, 1e9) if nanoseconds else (0xA1B2C3D4, 1e6)
        parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262_144, link_type)]
        for time, data, length in self.frames:
            fraction = round((time - int(time)) * unit)
            parts.append(struct.pack(f"{order}IIII", int(time), fraction, len(data), length) + data)
        return b"".join(parts)

    def explained(self) -> Explanation:
        return told(self.pcap())

    def stories(self) -> tuple[Story, ...]:
        return self.explained().stories


def told(data: bytes, chunk: int = 1 << 16) -> Explanation:
    """What a capture's bytes tell."""
    return explain("test.pcap", (data[start : start + chunk] for start in range(0, len(data), chunk)))
