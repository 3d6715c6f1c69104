"""What a diagnosis says: findings, the events they stand on, and a story for each association.

Values only. Rules make findings, `timeline` and the doctor make stories; texts, JSON and HTML are made of
them. Words that came from a peer are escaped before they get here, a patient's values and credentials masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeAlias

FieldValue: TypeAlias = str | int | float | bool | None


class Severity(StrEnum):
    """How bad it is."""

    FAILURE = "failure"  # something that was asked for did not happen
    WARNING = "warning"  # it happened, but not as it should
    INFO = "info"  # worth knowing


class Layer(StrEnum):
    """Where in the stack the cause is."""

    TCP = "tcp"
    TLS = "tls"
    UPPER_LAYER = "upper-layer"
    ASSOCIATION = "association"
    CONTEXT = "context"
    DIMSE = "dimse"
    DATA_SET = "data-set"
    APPLICATION = "application"
    CAPTURE = "capture"


class Side(StrEnum):
    """Who is to act: the requestor opened the connection, the acceptor took it."""

    REQUESTOR = "requestor"
    ACCEPTOR = "acceptor"
    NETWORK = "network"
    EITHER = "either"


class Confidence(StrEnum):
    """How sure the cause is."""

    CERTAIN = "certain"  # it is in the bytes
    LIKELY = "likely"  # it is what these signs mean nearly always
    POSSIBLE = "possible"  # one of several explanations


class Outcome(StrEnum):
    """How an association ended."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


CONFIDENCE_ORDER: Final = {Confidence.CERTAIN: 0, Confidence.LIKELY: 1, Confidence.POSSIBLE: 2}
SEVERITY_ORDER: Final = {Severity.FAILURE: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Something that was seen, and where to see it again.

    Attributes:
        what: in words, such as `A-ASSOCIATE-RJ 1/1/7`.
        frame: number of the capture's frame, from 1, as Wireshark counts; None where there are no frames.
        time: seconds since 1970.
        sender: who sent it.
        byte_range: first byte and the byte behind the last, counted from 0 in the sender's stream.
        fields: decoded values by the standard's names.
    """

    what: str
    frame: int | None = None
    time: float | None = None
    sender: Side | None = None
    byte_range: tuple[int, int] | None = None
    fields: Mapping[str, FieldValue] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "frame": self.frame,
            "time": timestamp(self.time),
            "sender": self.sender,
            "bytes": list(self.byte_range) if self.byte_range else None,
            "fields": dict(self.fields),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What to change, for each side that can; "" where a side can do nothing."""

    requestor: str = ""
    acceptor: str = ""
    network: str = ""

    def as_json(self) -> dict[str, str]:
        sides = {"requestor": self.requestor, "acceptor": self.acceptor, "network": self.network}
        return {side: words for side, words in sides.items() if words}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause, or one thing worth knowing.

    Attributes:
        code: stable, as in `docs/diagnosis`.
        severity: how bad.
        layer: where in the stack.
        side: who is to act.
        summary: one sentence: what happened.
        why: what that means, and what commonly leads to it.
        fix: what to change.
        check: what to look at next, where the fix does not help.
        reference: section of the standard.
        confidence: how sure.
        evidence: what it stands on.
    """

    code: str
    severity: Severity
    layer: Layer
    side: Side
    summary: str
    why: str
    fix: Fix
    check: str = ""
    reference: str = ""
    confidence: Confidence = Confidence.CERTAIN
    evidence: tuple[Evidence, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {
            "code": self.code,
            "severity": self.severity,
            "layer": self.layer,
            "side": self.side,
            "summary": self.summary,
            "why": self.why,
            "fix": self.fix.as_json(),
            "check": self.check,
            "reference": self.reference,
            "confidence": self.confidence,
            "evidence": [one.as_json() for one in self.evidence],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One arrow of a story's sequence diagram, or a remark beside it.

    Attributes:
        time: seconds since 1970.
        name: what was sent, in the standard's words, or what happened (`TCP SYN`, `note`).
        detail: the rest of the line.
        sender: who sent it; None where it happened to the connection.
        frame: number of the capture's frame, None where there are no frames.
        byte_range: as of `Evidence`.
        bad: it is part of what went wrong.
    """

    time: float
    name: str
    detail: str = ""
    sender: Side | None = None
    frame: int | None = None
    byte_range: tuple[int, int] | None = None
    bad: bool = False

    def as_json(self) -> dict[str, object]:
        return {
            "time": timestamp(self.time),
            "frame": self.frame,
            "sender": self.sender,
            "name": self.name,
            "detail": self.detail,
            "bytes": list(self.byte_range) if self.byte_range else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One end of a connection, as far as it is known.

    Attributes:
        address: numeric address, or the name that was asked for.
        port: TCP port.
        ae_title: as it calls itself (requestor) or is called (acceptor).
        implementation_class_uid: of item 52H.
        implementation_version_name: of item 55H.
        product: the known implementation that these two mean.
    """

    address: str = ""
    port: int | None = None
    ae_title: str = ""
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    product: str = ""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        where = host if self.port is None else f"{host}:{self.port}"
        return f"{self.ae_title}@{where}" if self.ae_title else where

    def as_json(self) -> dict[str, object]:
        return {
            "address": self.address,
            "port": self.port,
            "ae_title": self.ae_title,
            "implementation_class_uid": self.implementation_class_uid,
            "implementation_version_name": self.implementation_version_name,
            "product": self.product,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happened on one connection.

    Attributes:
        kind: `association`, `connection` (nothing of DICOM could be read), `capture`, or `probe`.
        requestor: who opened it.
        acceptor: who was asked.
        started: seconds since 1970; None where nothing has a time.
        outcome: how it ended.
        verdict: the most probable root cause; None where all is well.
        findings: the verdict and everything else, most probable cause first.
        related: places of stories in the same list that belong to this one: sub-associations, reports.
        events: in the order of time.
        events_omitted: how many of them were left out in the middle.
        negotiation: a line for each proposed presentation context.
    """

    kind: str
    requestor: Party
    acceptor: Party
    started: float | None
    outcome: Outcome
    verdict: Finding | None = None
    findings: tuple[Finding, ...] = ()
    related: tuple[int, ...] = ()
    events: tuple[Event, ...] = ()
    events_omitted: int = 0
    negotiation: tuple[ContextLine, ...] = ()

    def with_related(self, related: tuple[int, ...]) -> Story:
        return replace(self, related=related)

    def as_json(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "requestor": str(self.requestor),
            "acceptor": str(self.acceptor),
            "started": timestamp(self.started),
            "outcome": self.outcome,
            "verdict": self.verdict.as_json() if self.verdict else None,
            "findings": [finding.as_json() for finding in self.findings],
            "related": list(self.related),
            "parties": {"requestor": self.requestor.as_json(), "acceptor": self.acceptor.as_json()},
            "negotiation": [line.as_json() for line in self.negotiation],
            "events": [event.as_json() for event in self.events],
            "events_omitted": self.events_omitted,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextLine:
    """One presentation context: what was asked, what was answered, why, and what would make it work.

    Attributes:
        presentation_context_id: as proposed.
        abstract_syntax: UID.
        transfer_syntaxes: UIDs proposed, in the requestor's order.
        result: the code answered, None where there was no answer.
        transfer_syntax: UID agreed on, "" where the context cannot be used.
        words: what became of it, and why.
        change: the smallest change on either side that makes it work; "" where it works.
    """

    presentation_context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    result: int | None
    transfer_syntax: str
    words: str
    change: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.presentation_context_id,
            "abstract_syntax": self.abstract_syntax,
            "transfer_syntaxes": list(self.transfer_syntaxes),
            "result": self.result,
            "transfer_syntax": self.transfer_syntax,
            "words": self.words,
            "change": self.change,
        }


def timestamp(seconds: float | None) -> str | None:
    """A time as JSON has it: ISO 8601, UTC, microseconds."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (OverflowError, ValueError, OSError):
        return None


def escaped(text: str) -> str:
    """What a peer sent, safe to print: control characters as `\\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def outcome_of(findings: tuple[Finding, ...], *, known: bool = True) -> Outcome:
    """Failed by a failure that is certain or likely; unknown by a possible one, or where not all is known."""
    failures = [finding for finding in findings if finding.severity is Severity.FAILURE]
    if any(finding.confidence is not Confidence.POSSIBLE for finding in failures):
        return Outcome.FAILED
    return Outcome.UNKNOWN if failures or not known else Outcome.OK


def exit_status(outcomes: tuple[Outcome, ...]) -> int:
    """0 where every outcome is ok, 1 where one failed, 3 where none failed but some are unknown."""
    if Outcome.FAILED in outcomes:
        return 1
    return 3 if Outcome.UNKNOWN in outcomes else 0
