from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomwire.diagnose.finding import Outcome, Side
from dicomwire.diagnose.trace import HEAD, LONGEST_SEGMENT, Tap
from dicomwire.dimse.command import CStoreRq, CStoreRsp
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.pdu import AssociateRj, ReleaseRp, ReleaseRq
from tests.diagnose.scenarios import CT, ILE, SCENARIOS, instance
from tests.diagnose.wire import BEGIN, ac, message, rq, told

REQUESTOR, ACCEPTOR = ("10.0.0.1", 40_001), ("10.0.0.2", 11_112)


def stored(status: int = 0, *, cut: int | None = None) -> bytes:
    """A C-STORE as a recorder would write it, the data set cut behind `cut` bytes of its message."""
    tap, now = Tap(REQUESTOR, ACCEPTOR), BEGIN
    sent = message(CStoreRq(1, CT, "1.2.3"), instance(rows=256))
    parts = [
        HEAD,
        tap.connected(now),
        tap.sent(Side.REQUESTOR, encode(rq((1, CT, (ILE,)))), now + 0.1),
        tap.sent(Side.ACCEPTOR, encode(ac((1, 0, ILE))), now + 0.2),
        *recorded(tap, sent, now + 0.3, cut=cut),
        tap.sent(Side.ACCEPTOR, message(CStoreRsp(1, status)), now + 0.4),
        tap.sent(Side.REQUESTOR, encode(ReleaseRq()), now + 0.5),
        tap.sent(Side.ACCEPTOR, encode(ReleaseRp()), now + 0.6),
        tap.closed(Side.REQUESTOR, now + 0.7),
        tap.closed(Side.ACCEPTOR, now + 0.8),
    ]
    return b"".join(parts)


def recorded(tap: Tap, sent: bytes, now: float, *, cut: int | None) -> Iterator[bytes]:
    """The PDUs of a message; behind `cut` bytes only what comes before the data of their value."""
    at = 0
    while at < len(sent):
        length = 6 + int.from_bytes(sent[at + 2 : at + 6], "big")
        pdu = sent[at : at + length]
        kept = pdu if cut is None or at < cut else pdu[:12]
        yield tap.sent(Side.REQUESTOR, kept, now, length=length)
        at += length


def test_a_recorded_trace_tells_the_same_story_as_a_capture() -> None:
    (recorded,) = told(stored(0x0110)).stories
    (captured,) = SCENARIOS["status-other"]().stories()
    assert recorded.outcome is captured.outcome
    assert [finding.code for finding in recorded.findings] == [finding.code for finding in captured.findings]
    names = [[event.name for event in story.events if event.sender] for story in (recorded, captured)]
    assert names[0] == names[1]
    assert str(recorded.requestor) == "SCU@10.0.0.1:40001"


def test_a_data_set_may_be_cut_behind_its_head() -> None:
    whole, cut = stored(), stored(cut=17_000)
    assert len(cut) < len(whole) - 90_000
    (story,) = told(cut).stories
    assert story.outcome is Outcome.OK
    assert story.findings == ()
    lengths = [event.detail for event in story.events if event.name == "C-STORE data set"]
    assert lengths == [event.detail for event in told(whole).stories[0].events if "data set" in event.name]


def test_the_true_reason_of_a_refusal_is_told_beside_the_bytes() -> None:
    tap = Tap(REQUESTOR, ("2001:db8::1", 104))
    trace = b"".join(
        (
            HEAD,
            tap.connected(BEGIN),
            tap.sent(Side.REQUESTOR, encode(rq()), BEGIN + 1),
            tap.sent(Side.ACCEPTOR, encode(AssociateRj(1, 1, 1)), BEGIN + 2),
            tap.note("the certificate's name is not the AE title's", BEGIN + 2),
            tap.closed(Side.ACCEPTOR, BEGIN + 3),
        )
    )
    (story,) = told(trace).stories
    assert story.verdict is not None
    assert story.verdict.code == "reject-no-reason"
    notes = [event.detail for event in story.events if event.name == "note"]
    assert notes == ["the certificate's name is not the AE title's"]


def test_a_refused_connection() -> None:
    (story,) = told(HEAD + Tap(REQUESTOR, ACCEPTOR).refused(BEGIN)).stories
    assert story.verdict is not None
    assert story.verdict.code == "tcp-refused"


def test_long_writes_are_cut_into_segments_that_ip_can_carry() -> None:
    tap = Tap(REQUESTOR, ("pacs.example", 104))
    trace = HEAD + tap.connected(BEGIN) + tap.sent(Side.REQUESTOR, bytes(3 * LONGEST_SEGMENT), BEGIN)
    assert told(trace).frames == 6


def test_wireshark_reads_a_trace(tmp_path: Path) -> None:
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("missing tshark")
    file = tmp_path / "trace.pcapng"
    file.write_bytes(stored())
    command = [tshark, "-r", str(file), "-Y", "dicom", "-T", "fields", "-e", "dicom.pdu.type"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    types = {one for line in done.stdout.splitlines() for one in line.split(",")}
    assert types == {"0x01", "0x02", "0x04", "0x05", "0x06"}
