"""Signs of other protocols, and of TLS handshakes that failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import Confidence, Evidence, Side
from dicomwire.diagnose.rules.rule import Hit, Values
from dicomwire.diagnose.rules.signs import OTHER, closed, first_bytes, request_evidence, titles
from dicomwire.diagnose.tls import ENCRYPTED_ALERT, VERSIONS, Alert, TLSStream
from dicomwire.protocols import Protocol

_FEW: Final = 4  # encrypted records of a side whose handshake was cut off: its second flight and an alert

# What an alert's number means: the rule, and how sure.
_UNTRUSTED, _EXPIRED, _NAME, _VERSION, _REQUIRED = "untrusted", "expired", "name", "version", "required"
_OTHER_CAUSE: Final = "other"
_QUIET: Final = frozenset({0, 90})  # close_notify, user_canceled


def spoken_at(conversation: Conversation) -> frozenset[Protocol]:
    """What the same listening socket spoke, on this connection or another."""
    return conversation.capture.protocols(conversation) if conversation.capture else frozenset()


def wrong_protocol(conversation: Conversation, side: Side, wanted: Protocol) -> Iterator[Hit]:
    """One side speaks another protocol, the other side DICOM, or nothing at all."""
    if conversation.ear(side).protocol is wanted:
        other = conversation.ear(OTHER[side]).protocol
        if other is wanted or (other is None and not _silent_failure(conversation, side)):
            return
        confidence = None if other is Protocol.DICOM else Confidence.LIKELY
    elif side is Side.ACCEPTOR and wanted in spoken_at(conversation) and _unanswered(conversation):
        confidence = Confidence.LIKELY
    else:
        return
    evidence = (*first_bytes(conversation, side), *request_evidence(conversation))
    yield Hit(
        values={**titles(conversation), "sender": side},
        evidence=evidence,
        confidence=confidence,
        side=Side.REQUESTOR,
    )


def _silent_failure(conversation: Conversation, side: Side) -> bool:
    """The other side said nothing, and the connection is over."""
    return side is Side.REQUESTOR and closed(conversation) is not None


def _unanswered(conversation: Conversation) -> bool:
    return conversation.request is not None and conversation.acceptor_ear.protocol is None


def tls_sides(conversation: Conversation) -> tuple[TLSStream, TLSStream] | None:
    """Both sides' records; None where the requestor does not speak TLS."""
    requestor, acceptor = (ear.tls for ear in conversation.ears)
    if requestor is None or acceptor is None:
        return None
    return requestor, acceptor


def closed_in_tls(conversation: Conversation, side: Side) -> bool:
    """A side's last record, after data went both ways, was as long as an alert: its close_notify."""
    sides = tls_sides(conversation)
    if sides is None or sides[1].hello is None or not all(stream.encrypted > 1 for stream in sides):
        return False
    last = sides[0 if side is Side.REQUESTOR else 1].last
    return last is not None and last.length in ENCRYPTED_ALERT.get(sides[1].hello.versions[0], frozenset())


def tls_failed(conversation: Conversation, cause: str) -> Iterator[Hit]:
    """The handshake was broken off, and this is why; "" for any cause."""
    sides = tls_sides(conversation)
    if sides is None:
        return
    requestor, acceptor = sides
    for stream in sides:
        for alert in stream.alerts:
            if alert.description not in _QUIET and alert.level == 2:
                yield from _by_alert(conversation, requestor, acceptor, stream, alert, cause)
                return
    refuser = _encrypted_refusal(conversation, requestor, acceptor)
    if refuser is not None:
        yield from _by_length(conversation, requestor, acceptor, refuser, cause)
        return
    end = closed(conversation)
    unfinished = acceptor.hello is None or not (requestor.encrypted and acceptor.encrypted)
    if end is None or not unfinished or requestor.broken:
        return
    # Some servers close without an alert: asyncio's are such.
    wanted = end.side is Side.ACCEPTOR and acceptor.asks_for_certificate and not requestor.certificates
    if cause in ("", _REQUIRED if wanted else _OTHER_CAUSE):
        yield _hit(conversation, requestor, acceptor, end.side, "", (end.evidence,), Confidence.LIKELY)


def _by_alert(
    conversation: Conversation,
    requestor: TLSStream,
    acceptor: TLSStream,
    stream: TLSStream,
    alert: Alert,
    cause: str,
) -> Iterator[Hit]:
    found, confidence = _meaning(conversation, requestor, acceptor, stream, alert)
    if cause not in ("", found):
        return
    seen = Evidence(
        what=f"TLS alert {alert.words} ({alert.description})",
        time=alert.time,
        frame=alert.frame,
        sender=stream.side,
        fields={"description": alert.description},
    )
    words = f" (alert {alert.words})"
    yield _hit(conversation, requestor, acceptor, stream.side, words, (seen,), confidence)


def _meaning(
    conversation: Conversation, requestor: TLSStream, acceptor: TLSStream, stream: TLSStream, alert: Alert
) -> tuple[str, Confidence]:
    """Which cause an alert stands for."""
    number, certificate = alert.description, acceptor.certificate
    by_requestor = stream is requestor
    if by_requestor and certificate is not None and number in (42, 45, 46, 48):
        if not certificate.not_before <= alert.time <= certificate.not_after:
            return _EXPIRED, Confidence.CERTAIN
        called = requestor.hello.server_name if requestor.hello else ""
        if number in (42, 46) and not certificate.covers(called or conversation.connection.server[0]):
            return _NAME, Confidence.LIKELY
    if number == 45:
        return _EXPIRED, Confidence.CERTAIN
    if number in (48, 43, 44, 49):
        return _UNTRUSTED, Confidence.CERTAIN if number == 48 else Confidence.LIKELY
    if number == 112:
        return _NAME, Confidence.CERTAIN
    if number in (42, 46) and by_requestor:
        # OpenSSL answers a name that does not match with bad_certificate, an unknown issuer with unknown_ca.
        return (_NAME, Confidence.LIKELY) if number == 42 else (_UNTRUSTED, Confidence.LIKELY)
    if number == 116:
        return _REQUIRED, Confidence.CERTAIN
    if number in (70, 71, 86):
        return _VERSION, Confidence.CERTAIN
    if number == 40:
        if not by_requestor and acceptor.asks_for_certificate and not requestor.certificates:
            return _REQUIRED, Confidence.CERTAIN
        if acceptor.hello is None:
            return _VERSION, Confidence.LIKELY
    if number in (42, 46):
        return _UNTRUSTED, Confidence.LIKELY
    return _OTHER_CAUSE, Confidence.CERTAIN


def _encrypted_refusal(
    conversation: Conversation, requestor: TLSStream, acceptor: TLSStream
) -> TLSStream | None:
    """Who sent an encrypted alert instead of going on, judged by its length and place."""
    if acceptor.hello is None or closed(conversation) is None:
        return None
    lengths = ENCRYPTED_ALERT.get(acceptor.hello.versions[0], frozenset())
    for stream, other in ((requestor, acceptor), (acceptor, requestor)):
        last = stream.last
        if (
            last is None
            or last.length not in lengths
            or stream.encrypted > (1 if stream is requestor else 64)
        ):
            continue
        if stream is acceptor and other.encrypted > _FEW:
            continue
        if stream is acceptor and any(
            record.type == 23 and record.length > 300 for record in other.records[1:]
        ):
            continue
        if stream is acceptor and other.last is not None and other.last.length in lengths:
            continue  # the answer to a close_notify
        return stream
    return None


def _by_length(
    conversation: Conversation, requestor: TLSStream, acceptor: TLSStream, refuser: TLSStream, cause: str
) -> Iterator[Hit]:
    last = refuser.last
    seen = (
        (
            Evidence(
                what=f"an encrypted record of {last.length} bytes, the length of an alert, then the end",
                time=last.time,
                frame=last.frame,
                sender=refuser.side,
            ),
        )
        if last
        else ()
    )
    if refuser is requestor:
        likely, possible = _UNTRUSTED, frozenset({_NAME, _EXPIRED})
    else:
        likely, possible = _REQUIRED, frozenset({_UNTRUSTED})
    words = " (an encrypted alert)"
    if cause in ("", likely):
        yield _hit(conversation, requestor, acceptor, refuser.side, words, seen, Confidence.LIKELY)
    elif cause in possible:
        yield _hit(conversation, requestor, acceptor, refuser.side, words, seen, Confidence.POSSIBLE)


def _hit(
    conversation: Conversation,
    requestor: TLSStream,
    acceptor: TLSStream,
    refuser: Side,
    alert: str,
    evidence: tuple[Evidence, ...],
    confidence: Confidence,
) -> Hit:
    offered = requestor.hello.versions if requestor.hello else ()
    certificate = acceptor.certificate
    values: Values = {
        **titles(conversation),
        "refuser": refuser,
        "shower": OTHER[refuser],
        "alert": alert,
        "versions": ", ".join(VERSIONS[one] for one in sorted(offered) if one in VERSIONS) or "none",
        "names": f" ({', '.join(certificate.names)})" if certificate and certificate.names else "",
    }
    return Hit(values=values, evidence=evidence, confidence=confidence)
