"""Capture formats, link layers and reassembly, with dpkt as the oracle of the reader."""

from __future__ import annotations

import gzip
import io
import random
import struct

import dpkt
import pytest

from dicomwire.diagnose.finding import Outcome
from dicomwire.diagnose.packets import CaptureInfo, packets
from dicomwire.diagnose.timeline import listen
from dicomwire.dimse.command import CStoreRq, CStoreRsp
from tests.diagnose.scenarios import CT, ELE, ILE, SCENARIOS, associated, instance, release, store
from tests.diagnose.wire import ACK, BEGIN, PSH, Wire, ac, message, rq, told

Frames = list[tuple[float, bytes]]


def stored() -> Wire:
    """One C-STORE and its end."""
    wire = Wire()
    release(store(associated(wire, (1, CT, (ILE,)))))
    return wire


def relinked(wire: Wire, link: bytes, ethertype_at: int | None = None) -> Wire:
    """The same IP packets behind another link-layer header."""
    found = Wire()
    for time, data, _ in wire.frames:
        head = bytearray(link)
        if ethertype_at is not None:
            head[ethertype_at : ethertype_at + 2] = data[12:14]
        found.frames.append((time, bytes(head) + data[14:], len(head) + len(data) - 14))
    return found


def is_well(data: bytes) -> bool:
    explanation = told(data)
    (story,) = explanation.stories
    assert [event.name for event in story.events if event.name.startswith("C-STORE")] == [
        "C-STORE-RQ",
        "C-STORE data set",
        "C-STORE-RSP",
    ]
    return story.outcome is Outcome.OK and explanation.exit_status == 0


def pcapng(wire: Wire, *, order: str = "<", resolution: int = 6, simple: bool = False) -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        total = len(body) + 12
        return struct.pack(f"{order}II", kind, total) + body + struct.pack(f"{order}I", total)

    magic = struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1)
    option = struct.pack(f"{order}HHB3xHH", 9, 1, resolution, 0, 0)
    parts = [block(0x0A0D0D0A, magic), block(1, struct.pack(f"{order}HHI", 1, 0, 0) + option)]
    parts.append(block(0x0000_0BAD, b"another block, to be passed over"))
    for time, data, length in wire.frames:
        if simple:
            parts.append(block(3, struct.pack(f"{order}I", length) + data))
            continue
        ticks = round(time * 10**resolution)
        head = struct.pack(f"{order}IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
        parts.append(block(6, head + data))
    return b"".join(parts)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap_is_read_as_dpkt_reads_it(order: str, nanoseconds: bool) -> None:
    data = stored().pcap(order=order, nanoseconds=nanoseconds)
    oracle = [(float(time), packet) for time, packet in dpkt.pcap.Reader(io.BytesIO(data))]
    assert len(oracle) > 20
    assert same(read(data), oracle)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [3, 6, 9])
def test_pcapng_is_read_as_dpkt_reads_it(order: str, resolution: int) -> None:
    data = pcapng(stored(), order=order, resolution=resolution)
    oracle = [(float(time), packet) for time, packet in dpkt.pcapng.Reader(io.BytesIO(data))]
    assert same(read(data), oracle)


def read(data: bytes) -> Frames:
    return [(one[1], one[2][one[3] : one[3] + one[4]]) for one in packets([data], CaptureInfo())]


def same(ours: Frames, theirs: Frames) -> bool:
    assert [packet for _, packet in ours] == [packet for _, packet in theirs]
    assert all(abs(one[0] - other[0]) < 2e-6 for one, other in zip(ours, theirs, strict=True))
    return True


def test_pcapng_without_times_and_either_in_gzip() -> None:
    wire = stored()
    assert is_well(pcapng(wire, simple=True))
    assert is_well(gzip.compress(wire.pcap()))
    assert is_well(gzip.compress(pcapng(wire)))


def test_what_is_no_gzip_behind_a_member_is_named_with_its_byte() -> None:
    packed = gzip.compress(stored().pcap())
    error = listen([packed + b"garbage"]).error
    assert error is not None
    assert error.offset == len(packed)


LINKS: dict[str, tuple[int, bytes, int | None]] = {
    "Ethernet": (1, bytes(14), 12),
    "NULL": (0, b"\x02\0\0\0", None),
    "NULL big": (0, b"\0\0\0\x02", None),
    "LOOP": (108, b"\0\0\0\x02", None),
    "cooked v1": (113, bytes(14) + b"\x08\0", 14),
    "cooked v2": (276, b"\x08\0" + bytes(18), 0),
    "raw": (101, b"", None),
    "raw IPv4": (228, b"", None),
    "VLAN": (1, bytes(12) + b"\x81\0\x45\x67\x08\0", 16),
    "QinQ": (1, bytes(12) + b"\x88\xa8\0\x64\x81\0\0\x65\x08\0", 20),
    "cooked VLAN": (113, bytes(14) + b"\x81\0\0\x65\x08\0", 18),
}
"""LINKTYPE_ number, header of the link layer, where the EtherType stands in it."""


@pytest.mark.parametrize("name", LINKS)
def test_every_link_layer(name: str) -> None:
    link_type, head, ethertype_at = LINKS[name]
    assert is_well(relinked(stored(), head, ethertype_at).pcap(link_type=link_type))


def test_ipv4_fragments_are_put_together() -> None:
    wire, cut = stored(), Wire()
    for number, (time, data, _) in enumerate(wire.frames):
        head, body = data[14:34], data[34:]
        pieces = [(at, body[at : at + 512]) for at in range(0, len(body), 512)]
        random.Random(number).shuffle(pieces)
        for at, piece in pieces:
            more = at + len(piece) < len(body)
            fragment = struct.pack(">H", at // 8 | (0x2000 if more else 0))
            new = head[:2] + struct.pack(">HH", 20 + len(piece), number) + fragment + head[8:]
            cut.frames.append((time, data[:14] + new + piece, 34 + len(piece)))
    assert is_well(cut.pcap())


def test_ipv6_with_extension_headers_and_fragments() -> None:
    wire, found = Wire(), Wire()
    talk = wire.open(client="2001:db8::1", server="2001:db8::2").ask(rq((1, CT, (ILE,)))).answer(ac())
    release(store(talk))
    for number, (time, data, _) in enumerate(wire.frames):
        head, body = bytearray(data[14:54]), data[54:]
        if number % 2:
            extended = b"\x06\0" + bytes(6) + body  # hop-by-hop options
            head[6] = 0
        else:
            extended = struct.pack(">BxHI", 6, 0, number) + body  # one whole fragment
            head[6] = 44
        head[4:6] = struct.pack(">H", len(extended))
        found.frames.append((time, data[:14] + bytes(head) + extended, 54 + len(extended)))
    assert is_well(found.pcap())


def test_packets_captured_twice_and_in_any_order_within_a_window() -> None:
    wire, found = stored(), Wire()
    frames = [frame for frame in wire.frames for _ in range(2)]
    for at in range(8, len(frames) - 12, 6):
        frames[at : at + 4] = frames[at : at + 4][::-1]
    found.frames = [(BEGIN + place / 1e4, data, length) for place, (_, data, length) in enumerate(frames)]
    assert is_well(found.pcap())


def test_sequence_numbers_wrap() -> None:
    wire = Wire()
    talk = wire.talk()
    talk.next = [0xFFFFF000, 0xFFFFFFF0]
    talk.open().ask(rq((1, CT, (ILE,)))).answer(ac())
    release(store(talk))
    assert is_well(wire.pcap())


def test_a_reused_port_is_another_connection() -> None:
    wire = Wire()
    for _ in range(2):
        talk = wire.talk()
        wire.ports -= 1
        talk.next = [5_000, 7_000_000]
        release(store(talk.open().ask(rq((1, CT, (ILE,)))).answer(ac())))
        wire.now += 1
    explanation = wire.explained()
    assert len(explanation.stories) == 2
    assert explanation.exit_status == 0


def test_bytes_missing_within_pixels_do_no_harm() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ILE,)))
    sent = message(CStoreRq(1, CT, "1.2.3"), instance(rows=256))
    talk.send(0, sent[:60_000]).send(0, sent[60_000:63_000], lost=True).send(0, sent[63_000:])
    talk.answer(message(CStoreRsp(1, 0)))
    release(talk)
    (story,) = wire.stories()
    assert story.outcome is Outcome.OK
    assert [(finding.code, finding.severity) for finding in story.findings] == [("capture-gap", "info")]


def test_data_sets_cut_by_the_snap_length_do_no_harm() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ILE,)))
    sent = message(CStoreRq(1, CT, "1.2.3"), instance(rows=256))
    talk.send(0, sent[:40_000])
    for start in range(40_000, 120_000, 1_400):
        talk.packet(0, PSH | ACK, sent[start : min(start + 1_400, 120_000)], cut=0)
    talk.send(0, sent[120_000:]).answer(message(CStoreRsp(1, 0)))
    release(talk)
    (story,) = wire.stories()
    assert story.outcome is Outcome.OK


def test_a_late_start_is_told_from_the_next_pdu_on() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ELE,)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance(rows=200))[:30_000])
    wire.frames = wire.frames[-10:]
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance(rows=200))[30_000:])
    talk.answer(message(CStoreRsp(1, 0)))
    release(store(talk, 0xA700, id=2))
    (story,) = wire.stories()
    assert story.outcome is Outcome.FAILED
    codes = [finding.code for finding in story.findings]
    assert codes[0] == "status-out-of-resources"
    assert "capture-starts-late" in codes


def test_many_connections_at_once_are_kept_apart() -> None:
    wire = Wire()
    talks = [wire.open(11_112 + number) for number in range(50)]
    for talk in talks:
        talk.ask(rq((1, CT, (ILE,))))
    for talk in reversed(talks):
        talk.answer(ac())
    for talk in talks:
        store(talk)
    for talk in talks:
        release(talk)
    explanation = wire.explained()
    assert len(explanation.stories) == 50
    assert explanation.exit_status == 0


def test_no_scenario_needs_more_than_one_chunk_size() -> None:
    for code in ("move-destination-rejects", "status-other"):
        data = SCENARIOS[code]().pcap()
        whole, pieces = told(data), told(data, chunk=11)
        assert [story.as_json() for story in whole.stories] == [story.as_json() for story in pieces.stories]
    assert listen([SCENARIOS["status-other"]().pcap()]).info.format == "pcap"
