"""A capture for each cause, and what the verdict must be."""

from __future__ import annotations

import struct
from collections.abc import Callable

from dicomwire.dimse.command import (
    CCancelRq,
    CEchoRq,
    CEchoRsp,
    CFindRq,
    CFindRsp,
    CGetRq,
    CGetRsp,
    CMoveRq,
    CMoveRsp,
    CStoreRq,
    CStoreRsp,
    NActionRq,
    NActionRsp,
    NCreateRq,
    NCreateRsp,
    NSetRq,
    NSetRsp,
)
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from dicomwire.upper_layer.items import UserIdentityRq
from dicomwire.upper_layer.pdu import Abort, AssociateRj, ReleaseRp, ReleaseRq
from tests.diagnose.wire import ACK, FIN, ITEMS, PSH, RST, SYN, Talk, Wire, ac, element, message, p_data, rq

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
WORKLIST = "1.2.840.10008.5.1.4.31"
COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
MPPS = "1.2.840.10008.3.1.2.3.3"
JPEG = "1.2.840.10008.1.2.4.50"
ILE = IMPLICIT_VR_LITTLE_ENDIAN
ELE = EXPLICIT_VR_LITTLE_ENDIAN

SCENARIOS: dict[str, Callable[[], Wire]] = {}
"""By the code that must be the verdict."""

BESIDE: dict[str, Callable[[], Wire]] = {}
"""By a code that must be among the findings, not the verdict."""


def fires(code: str, *, beside: bool = False) -> Callable[[Callable[[Wire], None]], Callable[[Wire], None]]:
    def keep(build: Callable[[Wire], None]) -> Callable[[Wire], None]:
        def capture() -> Wire:
            wire = Wire()
            build(wire)
            return wire

        (BESIDE if beside else SCENARIOS)[code] = capture
        return build

    return keep


def associated(wire: Wire, *contexts: tuple[int, str, tuple[str, ...]], port: int = 11_112) -> Talk:
    """An association whose contexts are accepted with their first transfer syntax."""
    talk = wire.open(port)
    results = [(id, 0, syntaxes[0]) for id, _, syntaxes in contexts]
    return talk.ask(rq(*contexts)).answer(ac(*results))


def release(talk: Talk) -> Talk:
    return talk.ask(ReleaseRq()).answer(ReleaseRp()).close()


def echo(talk: Talk, id: int = 1) -> Talk:
    return talk.ask(message(CEchoRq(id, VERIFICATION))).answer(message(CEchoRsp(id, 0)))


def instance(uid: str = "1.2.3", *, rows: int = 64) -> bytes:
    """A CT of sorts in Implicit VR Little Endian."""
    pixels = bytes(rows * rows * 2)
    return b"".join(
        (
            element(0x00080016, CT),
            element(0x00080018, uid + "\0"),
            element(0x00100010, "DOE^JANE"),
            element(0x00280010, struct.pack("<H", rows)),
            element(0x7FE00010, pixels),
        )
    )


def store(talk: Talk, status: int = 0, *, id: int = 1, data: bytes | None = None) -> Talk:
    talk.ask(message(CStoreRq(id, CT, "1.2.3"), instance() if data is None else data))
    return talk.answer(message(CStoreRsp(id, status)))


def identifier(level: str = "STUDY", *more: bytes) -> bytes:
    return (element(0x00080052, level) if level else b"") + b"".join(more) + element(0x00100020, "4711")


def find(
    talk: Talk, status: int, *, data: bytes | None = None, matches: int = 0, model: str = STUDY_FIND
) -> Talk:
    asked = identifier() if data is None else data
    talk.ask(message(CFindRq(1, model), asked))
    for _ in range(matches):
        talk.answer(message(CFindRsp(1, 0xFF00, data_set=True), identifier()))
    return talk.answer(message(CFindRsp(1, status)))


def move(wire: Wire, *, destination: str = "WS") -> Talk:
    talk = associated(wire, (1, STUDY_MOVE, (ILE,)))
    return talk.ask(message(CMoveRq(1, STUDY_MOVE, destination), identifier()))


def moved(talk: Talk, status: int, completed: int, failed: int) -> None:
    talk.answer(
        message(
            CMoveRsp(
                1,
                status,
                number_of_completed_suboperations=completed,
                number_of_failed_suboperations=failed,
                number_of_warning_suboperations=0,
            )
        )
    )
    release(talk)


def sub_association(wire: Wire, *contexts: tuple[int, str, tuple[str, ...]]) -> Talk:
    talk = wire.open(104, client="10.0.0.2", server="10.0.0.3")
    return talk.ask(rq(*contexts, calling="SCP", called="WS"))


# -- TCP


@fires("tcp-refused")
def _(wire: Wire) -> None:
    talk = wire.talk()
    talk.packet(0, SYN)
    talk.packet(1, RST | ACK)


@fires("tcp-no-answer")
def _(wire: Wire) -> None:
    talk = wire.talk()
    for wait in (0.0, 1.0, 2.0):
        wire.now += wait
        talk.packet(0, SYN, sequence=1_000)


@fires("icmp-unreachable")
def _(wire: Wire) -> None:
    talk = wire.talk()
    talk.packet(0, SYN)
    quoted = wire.frames[-1][1][14:42]
    wire.ip("10.0.0.254", "10.0.0.1", 1, struct.pack(">BBHI", 3, 1, 0, 0) + quoted)


@fires("tcp-half-open")
def _(wire: Wire) -> None:
    talk = echo(associated(wire, (1, VERIFICATION, (ILE,))))
    at = talk.next[0]
    asked = message(CEchoRq(2, VERIFICATION))
    talk.packet(0, PSH | ACK, asked)
    for wait in (0.2, 0.4, 0.8, 1.6):
        wire.now += wait
        talk.packet(0, PSH | ACK, asked, sequence=at)


@fires("tcp-stalled")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    sent = message(CStoreRq(1, CT, "1.2.3"), instance(rows=128))
    for start in range(0, 20_000, 1_448):
        talk.packet(0, PSH | ACK, sent[start : start + 1_448])
    talk.packet(1, ACK, window=0)
    for _ in range(4):
        wire.now += 2
        talk.packet(1, ACK, window=0)
    talk.reset(0)


@fires("path-mtu")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    sent = message(CStoreRq(1, CT, "1.2.3"), instance())
    at = talk.next[0]
    for start in range(0, 5 * 1_448, 1_448):
        talk.packet(0, PSH | ACK, sent[start : start + 1_448])
    for wait in (0.2, 0.4, 0.8, 1.6):
        wire.now += wait
        talk.packet(0, PSH | ACK, sent[:1_448], sequence=at)
    wire.now += 3
    talk.packet(0, FIN | ACK)


@fires("delayed-ack-stall", beside=True)
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    for id in range(1, 5):
        sent = message(CStoreRq(id, CT, "1.2.3"), instance())
        talk.packet(0, PSH | ACK, sent[:12])
        wire.now += 0.041
        talk.packet(1, ACK)
        talk.ask(sent[12:]).answer(message(CStoreRsp(id, 0)))
    release(talk)


@fires("tcp-reset")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance())).reset(1)


@fires("tcp-closed-before-answer")
def _(wire: Wire) -> None:
    wire.open().ask(rq()).close(1)


# -- other protocols


@fires("http-server-on-port")
def _(wire: Wire) -> None:
    wire.open(8_042).ask(rq()).answer(b"HTTP/1.1 400 Bad Request\r\n\r\n").close(1)


@fires("http-client-on-port")
def _(wire: Wire) -> None:
    wire.open().ask(b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n").answer(Abort(2, 1)).close(1)


@fires("hl7-on-port")
def _(wire: Wire) -> None:
    wire.open().ask(b"\x0bMSH|^~\\&|HIS|KIS|||202601010000||ADT^A01|1|P|2.3\r\x1c\r").close(1)


@fires("ssh-on-port")
def _(wire: Wire) -> None:
    wire.open(2_222).answer(b"SSH-2.0-OpenSSH_9.2\r\n").ask(rq()).close(1)


@fires("proxy-header")
def _(wire: Wire) -> None:
    talk = wire.open().ask(b"PROXY TCP4 10.9.9.9 10.0.0.2 5000 104\r\n").ask(rq())
    talk.answer(Abort(2, 1)).close(1)


@fires("not-dicom")
def _(wire: Wire) -> None:
    wire.open(4_711).ask(rq()).answer(b"+OK POP3 server ready, what do you want?\r\n").close(1)


# -- upper layer


@fires("pdu-truncated")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    sent = message(CStoreRq(1, CT, "1.2.3"), instance())
    talk.ask(sent[:4_000]).close(0)


@fires("pdu-unknown-type")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(b"\x09\0\0\0\0\x04\0\0\0\0").answer(Abort(2, 1)).close(1)


@fires("pdu-unexpected")
def _(wire: Wire) -> None:
    wire.open().ask(message(CEchoRq(1, VERIFICATION))).answer(Abort(2, 2)).close(1)


@fires("pdu-malformed")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(b"\x04\0\0\0\0\x10\0\0\x40\0\x01\x03" + bytes(10)).answer(Abort(2, 6)).close(1)


@fires("pdu-too-long")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3")))
    talk.ask(p_data(0, bytes(40_000), limit=40_000)).answer(Abort(0, 0)).close(1)


@fires("context-id-invalid")
def _(wire: Wire) -> None:
    wire.open().ask(rq((2, CT, (ILE,)), (4, MR, (ILE,)))).answer(Abort(2, 6)).close(1)


@fires("context-id-unknown")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(message(CEchoRq(1, VERIFICATION), context=7)).answer(Abort(2, 6)).close(1)


@fires("context-foreign-transfer-syntax")
def _(wire: Wire) -> None:
    talk = wire.open().ask(rq((1, CT, (JPEG,)))).answer(ac((1, 0, ILE)))
    talk.ask(Abort(0, 0)).close(1)


@fires("artim-expired")
def _(wire: Wire) -> None:
    wire.open().close(1, wait=30)


@fires("idle-timeout")
def _(wire: Wire) -> None:
    talk = echo(associated(wire, (1, VERIFICATION, (ILE,))))
    talk.answer(Abort(2, 0), wait=60).close(1)


@fires("release-collision", beside=True)
def _(wire: Wire) -> None:
    talk = echo(associated(wire, (1, VERIFICATION, (ILE,))))
    talk.ask(ReleaseRq()).answer(ReleaseRq()).ask(ReleaseRp()).answer(ReleaseRp()).close()


# -- association


@fires("reject-called-ae-title")
def _(wire: Wire) -> None:
    wire.open().ask(rq()).answer(AssociateRj(1, 1, 7)).close()


@fires("reject-calling-ae-title")
def _(wire: Wire) -> None:
    wire.open().ask(rq()).answer(AssociateRj(1, 1, 3)).close()


@fires("reject-application-context")
def _(wire: Wire) -> None:
    wire.open().ask(rq(application_context_name="1.2.3")).answer(AssociateRj(1, 1, 2)).close()


@fires("reject-protocol-version")
def _(wire: Wire) -> None:
    wire.open().ask(rq(protocol_version=2)).answer(AssociateRj(1, 2, 2)).close()


@fires("reject-no-reason")
def _(wire: Wire) -> None:
    wire.open().ask(rq()).answer(AssociateRj(1, 1, 1)).close()


@fires("reject-user-identity")
def _(wire: Wire) -> None:
    login = UserIdentityRq(2, True, b"joe", b"secret")
    wire.open().ask(rq(items=(*ITEMS, login))).answer(AssociateRj(1, 2, 1)).close()


@fires("reject-local-limit")
def _(wire: Wire) -> None:
    wire.open().ask(rq()).answer(AssociateRj(2, 3, 2)).close()


@fires("reject-congestion")
def _(wire: Wire) -> None:
    wire.open().ask(rq()).answer(AssociateRj(2, 3, 1)).close()


@fires("association-no-answer")
def _(wire: Wire) -> None:
    wire.open().ask(rq()).close(0, wait=5)


@fires("acceptor-busy")
def _(wire: Wire) -> None:
    other = echo(associated(wire, (1, VERIFICATION, (ILE,))))
    wire.open().ask(rq()).close(0, wait=5)
    release(other)


@fires("abort-by-requestor")
def _(wire: Wire) -> None:
    echo(associated(wire, (1, VERIFICATION, (ILE,)))).ask(Abort(0, 0)).close(1)


@fires("closed-without-release", beside=True)
def _(wire: Wire) -> None:
    echo(associated(wire, (1, VERIFICATION, (ILE,)))).close(0)


@fires("abort-by-acceptor")
def _(wire: Wire) -> None:
    echo(associated(wire, (1, VERIFICATION, (ILE,)))).answer(Abort(0, 0)).close(1)


@fires("abort-before-response")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance())).answer(Abort(0, 0)).close(1)


# -- contexts


@fires("no-accepted-context", beside=True)
@fires("context-abstract-syntax")
def _(wire: Wire) -> None:
    talk = wire.open().ask(rq((1, CT, (ILE,)))).answer(ac((1, 3, ILE)))
    release(talk)


@fires("context-transfer-syntax")
def _(wire: Wire) -> None:
    talk = wire.open().ask(rq((1, CT, (JPEG,)), (3, MR, (JPEG,)))).answer(ac((1, 4, ILE), (3, 4, ILE)))
    talk.ask(Abort(0, 0)).close(1)


@fires("context-refused")
def _(wire: Wire) -> None:
    release(wire.open().ask(rq((1, CT, (ILE,)))).answer(ac((1, 1, ILE))))


@fires("role-not-negotiated")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, STUDY_GET, (ILE,)), (3, CT, (ILE,)))
    talk.ask(message(CGetRq(1, STUDY_GET), identifier()))
    talk.answer(
        message(CGetRsp(1, 0xA702, number_of_completed_suboperations=0, number_of_failed_suboperations=3))
    )
    release(talk)


# -- DIMSE


@fires("dimse-no-response")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, VERIFICATION, (ILE,)))
    talk.ask(message(CEchoRq(1, VERIFICATION))).ask(Abort(0, 0), wait=30).close(0)


@fires("command-field-missing")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, VERIFICATION, (ILE,)))
    command = element(0x00000002, VERIFICATION + "\0") + element(0x00000800, b"\x01\x01")
    talk.ask(p_data(1, element(0, struct.pack("<I", len(command))) + command)).answer(Abort(0, 0)).close(1)


@fires("command-malformed")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, VERIFICATION, (ILE,)))
    talk.ask(p_data(1, b"\0\0\0\0\xff\xff\0\0abc")).answer(Abort(0, 0)).close(1)


@fires("response-unmatched")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance())).answer(message(CStoreRsp(7, 0)))
    talk.ask(Abort(0, 0), wait=30).close(0)


@fires("sop-class-not-of-context")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, MR, (ILE,)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance())).answer(message(CStoreRsp(1, 0x0122)))
    release(talk)


@fires("status-out-of-resources")
def _(wire: Wire) -> None:
    release(store(associated(wire, (1, CT, (ILE,))), 0xA700))


@fires("status-data-set-mismatch")
def _(wire: Wire) -> None:
    release(store(associated(wire, (1, CT, (ILE,))), 0xA900))


@fires("status-cannot-understand")
def _(wire: Wire) -> None:
    release(store(associated(wire, (1, CT, (ILE,))), 0xC001))


@fires("status-sop-class-not-supported")
def _(wire: Wire) -> None:
    release(store(associated(wire, (1, CT, (ILE,))), 0x0122))


@fires("status-not-authorized")
def _(wire: Wire) -> None:
    release(store(associated(wire, (1, CT, (ILE,))), 0x0124))


@fires("status-other")
def _(wire: Wire) -> None:
    release(store(associated(wire, (1, CT, (ILE,))), 0x0110))


@fires("status-coercion", beside=True)
def _(wire: Wire) -> None:
    release(store(associated(wire, (1, CT, (ILE,))), 0xB000))


@fires("cancelled", beside=True)
def _(wire: Wire) -> None:
    talk = associated(wire, (1, STUDY_FIND, (ILE,)))
    talk.ask(message(CFindRq(1, STUDY_FIND), identifier()))
    talk.answer(message(CFindRsp(1, 0xFF00, data_set=True), identifier()))
    talk.ask(message(CCancelRq(1))).answer(message(CFindRsp(1, 0xFE00)))
    release(talk)


@fires("find-level-missing")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, STUDY_FIND, (ILE,)))
    release(find(talk, 0xA900, data=identifier("")))


@fires("find-identifier-mismatch")
def _(wire: Wire) -> None:
    release(find(associated(wire, (1, STUDY_FIND, (ILE,))), 0xA900, data=identifier("PATIENT")))


@fires("query-not-allowed")
def _(wire: Wire) -> None:
    release(find(associated(wire, (1, STUDY_FIND, (ILE,))), 0x0124))


@fires("move-destination-unknown")
def _(wire: Wire) -> None:
    moved(move(wire, destination="NOBODY"), 0xA801, 0, 1)


@fires("move-destination-unreachable")
def _(wire: Wire) -> None:
    talk = move(wire)
    other = wire.talk(104, client="10.0.0.2", server="10.0.0.3")
    other.packet(0, SYN)
    other.packet(1, RST | ACK)
    moved(talk, 0xA702, 0, 1)


@fires("move-destination-rejects")
def _(wire: Wire) -> None:
    talk = move(wire)
    sub_association(wire, (1, CT, (ILE,))).answer(AssociateRj(1, 1, 3)).close()
    moved(talk, 0xA702, 0, 1)


@fires("move-destination-context")
def _(wire: Wire) -> None:
    talk = move(wire)
    release(sub_association(wire, (1, CT, (JPEG,))).answer(ac((1, 4, ILE))))
    moved(talk, 0xA702, 0, 1)


@fires("move-partial")
def _(wire: Wire) -> None:
    talk = move(wire)
    other = sub_association(wire, (1, CT, (ILE,))).answer(ac((1, 0, ILE)))
    store(other, 0)
    store(other, 0xA700, id=2)
    release(other)
    moved(talk, 0xB000, 1, 1)


@fires("mpps-final")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, MPPS, (ILE,)))
    talk.ask(message(NSetRq(1, MPPS, "1.2.9"), element(0x00400252, "COMPLETED ")))
    talk.answer(message(NSetRsp(1, 0)))
    talk.ask(message(NSetRq(2, MPPS, "1.2.9"), element(0x00400252, "COMPLETED ")))
    talk.answer(message(NSetRsp(2, 0x0110, error_id=0xA710)))
    release(talk)


@fires("mpps-duplicate")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, MPPS, (ILE,)))
    step = element(0x00400252, "IN PROGRESS ")
    talk.ask(message(NCreateRq(1, MPPS, "1.2.9", data_set=True), step)).answer(message(NCreateRsp(1, 0x0111)))
    release(talk)


@fires("commitment-report-undelivered")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, COMMITMENT, (ILE,)))
    request = NActionRq(1, COMMITMENT, COMMITMENT_INSTANCE, 1, data_set=True)
    talk.ask(message(request, element(0x00081195, "1.2.77 "))).answer(message(NActionRsp(1, 0)))
    release(talk)
    wire.now += 2
    report = wire.talk(104, client="10.0.0.2", server="10.0.0.1")
    report.packet(0, SYN)
    report.packet(1, RST | ACK)


# -- data sets, application


@fires("data-set-transfer-syntax")
def _(wire: Wire) -> None:
    release(store(associated(wire, (1, CT, (ELE,))), 0))


@fires("data-set-malformed")
def _(wire: Wire) -> None:
    release(store(associated(wire, (1, CT, (ILE,))), 0, data=instance()[:-2_000]))


@fires("no-match", beside=True)
def _(wire: Wire) -> None:
    release(find(associated(wire, (1, STUDY_FIND, (ILE,))), 0))


@fires("worklist-no-match", beside=True)
def _(wire: Wire) -> None:
    release(find(associated(wire, (1, WORKLIST, (ILE,))), 0, model=WORKLIST))


# -- the capture itself


@fires("capture-starts-late")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    wire.frames.clear()
    release(store(talk, 0))


@fires("capture-gap")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance()))
    talk.send(1, message(CStoreRsp(1, 0)), lost=True)
    release(talk)


@fires("capture-truncated")
def _(wire: Wire) -> None:
    talk = wire.open()
    sent = b"".join((b"\1\0\0\0\1\0", bytes(256)))
    talk.packet(0, PSH | ACK, sent, cut=40)


@fires("capture-ends-early")
def _(wire: Wire) -> None:
    associated(wire, (1, CT, (ILE,))).ask(message(CStoreRq(1, CT, "1.2.3"), instance()))


@fires("capture-one-sided")
def _(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    release(store(talk))
    wire.frames = [frame for frame in wire.frames if frame[1][26:30] == bytes((10, 0, 0, 1))]


@fires("capture-no-dicom")
def _(wire: Wire) -> None:
    wire.open(80).ask(b"GET / HTTP/1.1\r\n\r\n").answer(b"HTTP/1.1 200 OK\r\n\r\n").close()


def _dns(name: str, code: int) -> bytes:
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    question = labels + b"\0" + struct.pack(">HH", 1, 1)
    data = struct.pack(">HHHHHH", 7, 0x8180 | code, 1, 0, 0, 0) + question
    return struct.pack(">HHHH", 53, 5_353, 8 + len(data), 0) + data


@fires("name-not-resolved")
def _(wire: Wire) -> None:
    wire.ip("10.0.0.53", "10.0.0.1", 17, _dns("pacs.hospital.example", 3))
