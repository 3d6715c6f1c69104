"""Conversations to stories: asks the rules, ranks what they find, explains the negotiation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dicomwire.diagnose import quirks
from dicomwire.diagnose.conversation import Conversation
from dicomwire.diagnose.dns import Lookup
from dicomwire.diagnose.finding import (
    Confidence,
    Event,
    Evidence,
    Finding,
    Layer,
    Outcome,
    Party,
    Severity,
    Side,
    Story,
    escaped,
    exit_status,
    outcome_of,
)
from dicomwire.diagnose.negotiation import context_lines
from dicomwire.diagnose.rules import RULE_OF, RULES, Hit
from dicomwire.diagnose.timeline import Heard, listen
from dicomwire.errors import CaptureError

UNREADABLE: Final = 2  # exit status for a file that cannot be read

_RANK: Final = {rule.code: rank for rank, rule in enumerate(RULES)}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one file tells.

    Attributes:
        file: its name, as given.
        stories: in the order in which they began.
        error: why it could not be read to its end; None where it could.
        frames: packets in it.
        omitted: stories left out, of a capture with very many.
    """

    file: str
    stories: tuple[Story, ...]
    error: CaptureError | None
    frames: int
    omitted: int = 0

    @property
    def exit_status(self) -> int:
        if self.error is not None:
            return UNREADABLE
        return exit_status(tuple(story.outcome for story in self.stories))

    def as_json(self) -> dict[str, object]:
        facts: dict[str, object] = {
            "file": self.file,
            "stories": [story.as_json() for story in self.stories],
            "frames": self.frames,
        }
        if self.omitted:
            facts["omitted"] = self.omitted
        if self.error is not None:
            facts["error"] = {"message": str(self.error), "byte": self.error.offset}
        return facts


def explain(file: str, chunks: Iterable[bytes], *, unmask: bool = False) -> Explanation:
    """The stories of a capture or recorded trace.

    Args:
        file: its name, for people.
        chunks: its bytes in pieces of any length.
        unmask: show patients' values and credentials.
    """
    heard = listen(chunks, unmask=unmask)
    conversations = heard.facts.conversations
    places = {id(conversation): place for place, conversation in enumerate(conversations)}
    stories = [
        story_of(conversation).with_related(
            tuple(sorted(places[id(other)] for other in conversation.related if id(other) in places))
        )
        for conversation in conversations
    ]
    stories += [_unresolved(lookup) for lookup in heard.unresolved if not stories]
    if not stories:
        stories.append(_nothing(heard))
    return Explanation(file, tuple(stories), heard.error, heard.frames, heard.omitted)


def story_of(conversation: Conversation) -> Story:
    """The story of one conversation, its findings ranked: the most probable root cause first."""
    requestor, acceptor = conversation.requestor, conversation.acceptor
    found = [
        quirks.apply(rule.finding(hit), requestor, acceptor)
        for rule in RULES
        if rule.detect is not None
        for hit in rule.detect(conversation)
    ]
    findings = rank(found)
    hidden = [one for one in findings if one.layer is Layer.CAPTURE and one.severity is Severity.WARNING]
    outcome = outcome_of(findings, known=not hidden)
    events = sorted([*conversation.events, *conversation.notes], key=_moment)
    return Story(
        kind="association" if conversation.speaks_dicom else "connection",
        requestor=requestor,
        acceptor=acceptor,
        started=conversation.connection.opened[0],
        outcome=outcome,
        verdict=_verdict(findings, outcome),
        findings=findings,
        events=tuple(events),
        events_omitted=conversation.events.omitted,
        negotiation=context_lines(conversation),
    )


def rank(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Failures before warnings, what is sure before what is possible, then root causes before symptoms."""
    return tuple(sorted(findings, key=_importance))


def _importance(finding: Finding) -> tuple[int, bool, int]:
    severities = (Severity.FAILURE, Severity.WARNING, Severity.INFO)
    possible = finding.confidence is Confidence.POSSIBLE
    return severities.index(finding.severity), possible, _RANK.get(finding.code, len(_RANK))


def _verdict(findings: tuple[Finding, ...], outcome: Outcome) -> Finding | None:
    if outcome is Outcome.OK:
        return None
    if outcome is Outcome.FAILED:
        return next(one for one in findings if one.severity is Severity.FAILURE)
    hidden = [one for one in findings if one.layer is Layer.CAPTURE and one.severity is Severity.WARNING]
    return next(iter([one for one in findings if one.severity is Severity.FAILURE] or hidden), None)


def _moment(event: Event) -> tuple[float, int]:
    return event.time, event.frame or 0


def _unresolved(lookup: Lookup) -> Story:
    """A name that has no address, and no connection to tell of."""
    name, words = escaped(lookup.name), lookup.words
    what = (
        f"DNS answer of {lookup.server}: {words}" if lookup.answered else f"DNS question to {lookup.server}"
    )
    seen = Evidence(
        what=what, time=lookup.time, frame=lookup.frame, fields={"name": name, "times": lookup.times}
    )
    finding = RULE_OF["name-not-resolved"].finding(
        Hit(
            values={"name": name, "words": words, "server": lookup.server},
            evidence=(seen,),
            confidence=_certainty(lookup),
        )
    )
    return Story(
        kind="connection",
        requestor=Party(address=lookup.client),
        acceptor=Party(address=name),
        started=lookup.time,
        outcome=outcome_of((finding,)),
        verdict=finding,
        findings=(finding,),
        events=(
            Event(
                time=lookup.time,
                frame=lookup.frame,
                name="DNS answer" if lookup.answered else "DNS question",
                detail=f"{name}: {words}",
                sender=Side.ACCEPTOR if lookup.answered else Side.REQUESTOR,
                bad=True,
            ),
        ),
    )


def _certainty(lookup: Lookup) -> Confidence:
    if lookup.answered:
        return Confidence.CERTAIN
    return Confidence.LIKELY if lookup.times > 1 else Confidence.POSSIBLE


def _nothing(heard: Heard) -> Story:
    """A capture without DICOM, or one that cannot be read."""
    code = "capture-truncated" if heard.error else "capture-no-dicom"
    words = str(heard.error) if heard.error else ""
    finding = RULE_OF[code].finding(Hit(values={"frames": heard.frames, "words": words}))
    return Story(
        kind="capture",
        requestor=Party(),
        acceptor=Party(),
        started=heard.facts.began or None,
        outcome=Outcome.UNKNOWN,
        verdict=finding,
        findings=(finding,),
    )
