"""How fast `dicomwire explain` reads a capture of gigabytes, and how much memory that takes.

The capture is made while it is read, through a pipe, so that it needs no disk: C-STOREs of CT images in
full-sized segments over four associations in turn, acknowledged every other segment, as tcpdump writes them.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from struct import pack

import numpy as np
from numpy.typing import NDArray

from benchmarks.receivers import Dicomwire, ReceiverError, system_program
from dicomwire.dimse.codec import encode as encode_command
from dicomwire.dimse.command import CStoreRq, CStoreRsp
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.items import ContextResult, ImplementationClassUID, MaximumLength, ProposedContext
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRq, ReleaseRp, ReleaseRq

Numbers = NDArray[np.int64]

ASSOCIATIONS = 4
PIPE = 1 << 20  # bytes
BATCH = 64  # C-STOREs made at once: 35 MB
SEGMENT = 1_448  # bytes of TCP data in a packet of 1,500
PDU_VALUE = 16_378  # bytes of a fragment in a P-DATA-TF of 16 KiB
INSTANCE = 525_000  # bytes of a data set
CT = "1.2.840.10008.5.1.4.1.1.2"
PORT, FIRST_CLIENT_PORT = 11_112, 40_000
BEGIN = 1_700_000_000  # seconds since 1970

# Bytes of a record before its TCP header, and where fields stand in it.
HEAD = 16 + 14 + 20
SECONDS, SOURCE_PORT, SEQUENCE, ACKNOWLEDGMENT = 0, HEAD, HEAD + 4, HEAD + 8


@dataclass
class Exchange:
    """Packets that one association sends again and again; sequence numbers count from 0 on both sides.

    Attributes:
        sent: bytes that client and server have sent so far.
        places: of each packet: its first byte, and who sent it (0 the client).
    """

    data: bytearray = field(default_factory=bytearray)
    sent: list[int] = field(default_factory=lambda: [0, 0])
    places: list[tuple[int, int]] = field(default_factory=list)

    def packet(self, who: int, flags: int, data: bytes = b"") -> None:
        ports = (FIRST_CLIENT_PORT, PORT) if who == 0 else (PORT, FIRST_CLIENT_PORT)
        hosts = (b"\x0a\0\0\1", b"\x0a\0\0\2") if who == 0 else (b"\x0a\0\0\2", b"\x0a\0\0\1")
        tcp = pack(">HHIIHHHH", *ports, self.sent[who], self.sent[1 - who], 0x8000 | flags, 65_000, 0, 0)
        tcp += b"\1\1\x08\x0a" + bytes(8)  # the time stamps that nearly all have
        ip = pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp) + len(data), 0, 0x4000, 64, 6, 0) + b"".join(hosts)
        frame = bytes(12) + b"\x08\0" + ip + tcp + data
        self.places.append((len(self.data), who))
        self.data += pack("<IIII", 0, 0, len(frame), len(frame)) + frame
        self.sent[who] += len(data) + bool(flags & 3)

    def say(self, who: int, data: bytes) -> None:
        """Bytes in full-sized segments, acknowledged every other one."""
        for number, start in enumerate(range(0, len(data), SEGMENT)):
            self.packet(who, 0x18, data[start : start + SEGMENT])
            if number % 2:
                self.packet(1 - who, 0x10)


def opening() -> Exchange:
    exchange = Exchange()
    exchange.packet(0, 0x02)
    exchange.packet(1, 0x12)
    exchange.packet(0, 0x10)
    items = (MaximumLength(16_384), ImplementationClassUID("1.2.3"))
    context = ProposedContext(1, CT, (EXPLICIT_VR_LITTLE_ENDIAN,))
    exchange.say(0, encode(AssociateRq("ARCHIVE", "MODALITY", (context,), items)))
    result = ContextResult(1, 0, EXPLICIT_VR_LITTLE_ENDIAN)
    exchange.say(1, encode(AssociateAc("ARCHIVE", "MODALITY", (result,), items)))
    return exchange


def storing() -> Exchange:
    exchange = Exchange()
    exchange.say(0, _p_data(3, encode_command(CStoreRq(1, CT, "1.2.3.4"))) + _data_set())
    exchange.say(1, _p_data(3, encode_command(CStoreRsp(1, 0))))
    exchange.packet(0, 0x10)
    return exchange


def closing() -> Exchange:
    exchange = Exchange()
    exchange.say(0, encode(ReleaseRq()))
    exchange.say(1, encode(ReleaseRp()))
    exchange.packet(0, 0x11)
    exchange.packet(1, 0x11)
    exchange.packet(0, 0x10)
    return exchange


def _data_set() -> bytes:
    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        return pack("<HH2sH", group, number, vr, len(value)) + value

    head = element(8, 0x16, b"UI", CT.encode() + b"\0") + element(8, 0x18, b"UI", b"1.2.3.4\0")
    head += element(0x28, 0x10, b"US", pack("<H", 512)) + element(0x28, 0x11, b"US", pack("<H", 512))
    pixels = INSTANCE - len(head) - 12
    whole = head + pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, pixels) + bytes(pixels)
    starts = range(0, len(whole), PDU_VALUE)
    last = starts[-1]
    return b"".join(_p_data(2 * (start == last), whole[start : start + PDU_VALUE]) for start in starts)


def _p_data(control: int, data: bytes) -> bytes:
    return pack(">BBIIBB", 4, 0, len(data) + 6, len(data) + 2, 1, control) + data


def capture(size: int) -> Iterator[bytes | memoryview]:
    """A pcap of about `size` bytes, in chunks that are valid until the next one."""
    first, middle, last = opening(), storing(), closing()
    stores = max(1, size // (len(middle.data) * BATCH)) * BATCH
    each = np.arange(ASSOCIATIONS)
    yield pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    yield Copies(first, ASSOCIATIONS).of(each, np.zeros((2, ASSOCIATIONS), np.int64), each)
    opened, sent = (np.array(exchange.sent)[:, None] for exchange in (first, middle))
    copies = Copies(middle, BATCH)
    for start in range(0, stores, BATCH):
        numbers = np.arange(start, start + BATCH)
        yield copies.of(numbers % ASSOCIATIONS, opened + sent * (numbers // ASSOCIATIONS), numbers)
    before = opened + sent * (stores // ASSOCIATIONS)
    yield Copies(last, ASSOCIATIONS).of(each, before.repeat(ASSOCIATIONS, 1), each + stores)


class Copies:
    """Copies of an exchange, a row each, whose ports, sequence numbers and times are put in anew."""

    def __init__(self, exchange: Exchange, count: int) -> None:
        self._rows = np.tile(np.frombuffer(exchange.data, np.uint8), (count, 1))
        self._at = np.array([start for start, _ in exchange.places])
        self._sender = np.array([who for _, who in exchange.places])
        self._own = {
            place: np.array([int.from_bytes(exchange.data[at : at + 4], "big") for at in self._at + place])
            for place in (SEQUENCE, ACKNOWLEDGMENT)
        }

    def of(self, clients: Numbers, before: Numbers, ticks: Numbers) -> memoryview:
        """The packets, valid until the next call.

        Args:
            clients: number of each copy's association.
            before: bytes that client and server sent before it, in two rows.
            ticks: when it is, in hundredths of a second.
        """
        for place, side in ((SEQUENCE, self._sender), (ACKNOWLEDGMENT, 1 - self._sender)):
            self._put(place, self._own[place] + before[side].T, ">u4")
        self._put(SOURCE_PORT + 2 * self._sender, FIRST_CLIENT_PORT + clients[:, None], ">u2")
        self._put(SECONDS, BEGIN + ticks[:, None] // 100, "<u4")
        self._put(SECONDS + 4, ticks[:, None] % 100 * 10_000, "<u4")
        return self._rows.data.cast("B", (self._rows.size,))

    def _put(self, place: int | Numbers, values: Numbers, form: str) -> None:
        """A number into the same place of each packet."""
        whole = np.broadcast_to(values, (len(self._rows), len(self._at))).astype(form, order="C")
        octets = whole.view(np.uint8).reshape(*whole.shape, whole.itemsize)
        for byte in range(whole.itemsize):
            self._rows[:, self._at + place + byte] = octets[:, :, byte]


@dataclass(frozen=True)
class Reading:
    """How one program read one capture.

    Attributes:
        size: bytes of the capture.
        seconds: from start to end, the making of the capture included where that is slower.
        cpu_seconds: the reader's own.
        peak: bytes of memory at most.
    """

    program: str
    size: int
    seconds: float
    cpu_seconds: float
    peak: int


def read(program: str, command: list[str], size: int, check: Callable[[bytes], bool]) -> Reading:
    """Lets a program read a capture of about `size` bytes from its standard input.

    Raises: ReceiverError, when it does not find what is in it.
    """
    began, written = time.monotonic(), 0
    reader = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    with reader.stdin:
        for chunk in capture(size):
            reader.stdin.write(chunk)
            written += len(chunk)
    found = reader.stdout.read()
    reader.stdout.close()
    _, status, used = os.wait4(reader.pid, 0)
    reader.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if not check(found):
        raise ReceiverError(f"{program} did not find what is in the capture; exit status {reader.returncode}")
    return Reading(program, written, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def measure(gigabytes: float, tell: Callable[[str], None]) -> list[Reading]:
    """This program on all of it, tshark on a hundredth, which is more than enough for it."""
    size = int(gigabytes * 1e9)
    readings = []
    tell(f"dicomwire explain, {gigabytes:g} GB")
    readings.append(
        read("dicomwire explain", [Dicomwire.program(), "explain", "-", "--json"], size, _is_told)
    )
    tshark = system_program("tshark")
    if tshark:
        tell(f"tshark, {gigabytes / 100:g} GB")
        command = [tshark, "-n", "-r", "-", "-Y", "dicom.pdu.type", "-T", "fields", "-e", "dicom.pdu.type"]
        readings.append(read("tshark -Y dicom", command, size // 100, bool))
    return readings


def _is_told(found: bytes) -> bool:
    stories = json.loads(found)["captures"][0]["stories"]
    return len(stories) == ASSOCIATIONS and all(
        story["outcome"] == "ok" and story["kind"] == "association" for story in stories
    )


def markdown(readings: list[Reading]) -> str:
    rows = [
        "| program | capture | MB/s | MB/s of its own CPU time | peak MB |",
        "|---|--:|--:|--:|--:|",
    ]
    rows += [
        f"| {one.program} | {one.size / 1e9:.2f} GB | {one.size / 1e6 / one.seconds:.0f} "
        f"| {one.size / 1e6 / one.cpu_seconds:.0f} | {one.peak / 1e6:.0f} |"
        for one in readings
    ]
    return "\n".join(rows)
