"""What a rule is: a cause's words as data, and a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.finding import (
    Confidence,
    Evidence,
    FieldValue,
    Finding,
    Fix,
    Layer,
    Severity,
    Side,
)

Values: TypeAlias = dict[str, FieldValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A detector's answer.

    Attributes:
        values: what fills the braces of the rule's words.
        evidence: what was seen.
        confidence, side, severity: where they differ from the rule's.
    """

    values: Mapping[str, FieldValue] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    confidence: Confidence | None = None
    side: Side | None = None
    severity: Severity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One cause.

    Attributes:
        code, severity, layer, side, confidence, reference: as of the `Finding`.
        summary, why, fix, check: words with names in braces, which the detector's values fill.
        detect: finds the cause in a conversation; None where only a live probe can see it.
    """

    code: str
    severity: Severity = Severity.FAILURE
    layer: Layer
    side: Side
    summary: str
    why: str
    fix: Fix
    check: str = ""
    reference: str
    confidence: Confidence = Confidence.CERTAIN
    detect: Callable[[Conversation], Iterable[Hit]] | None = None

    def finding(self, hit: Hit = Hit()) -> Finding:
        """The finding for a hit; a name without a value is filled with a question mark."""
        values = _Filled(hit.values)
        return Finding(
            code=self.code,
            severity=hit.severity or self.severity,
            layer=self.layer,
            side=hit.side or self.side,
            summary=self.summary.format_map(values),
            why=self.why.format_map(values),
            fix=Fix(
                requestor=self.fix.requestor.format_map(values),
                acceptor=self.fix.acceptor.format_map(values),
                network=self.fix.network.format_map(values),
            ),
            check=self.check.format_map(values),
            reference=self.reference,
            confidence=hit.confidence or self.confidence,
            evidence=hit.evidence,
        )


class _Filled(dict[str, FieldValue]):
    def __missing__(self, name: str) -> str:
        return "?"
