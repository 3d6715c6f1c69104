"""Stories as lines for a terminal: what happened, whose side, why, what to change, what to check next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from dicomwire.diagnose.explain import Explanation
from dicomwire.diagnose.finding import Event, Finding, Outcome, Side, Story, timestamp
from dicomwire.diagnose.overview import Group, overview, told_before
from dicomwire.uids import name_of

EVENTS_SHOWN: Final = 60  # of a story, unless all are asked for
CONTEXTS_SHOWN: Final = 12  # refused ones, likewise


class Line(NamedTuple):
    """A line and how it is meant.

    Attributes:
        text: without an end of line.
        style: `title`, `failed`, `unknown`, `ok`, `bad`, `label`, `dim` or "".
    """

    text: str
    style: str = ""


def explanation_lines(explanation: Explanation, *, everything: bool = False) -> Iterator[Line]:
    """All stories of a file.

    Args:
        explanation: of the file.
        everything: the sequences of stories that ended well, too.
    """
    count = len(explanation.stories)
    told = f"{count} {'story' if count == 1 else 'stories'}"
    if explanation.omitted:
        told += f", {explanation.omitted} more left out"
    yield Line(f"{explanation.file}: {explanation.frames:,} frames, {told}", "title")
    groups = overview(explanation.stories)
    if count > 1:
        yield Line("")
        yield from map(_group_line, groups)
    before = {} if everything else told_before(groups)
    for place, story in enumerate(explanation.stories):
        yield Line("")
        if place in before:
            yield Line(f"{place + 1}. {_headline(story)}", story.outcome.value)
            yield Line(f"   as in {before[place] + 1}")
        else:
            yield from story_lines(story, place + 1, everything=everything)


def _group_line(group: Group) -> Line:
    words = f"{group.verdict.summary} ({group.verdict.code})" if group.verdict else "nothing to complain of"
    return Line(f"   {len(group.places):>5} {group.outcome:<8} {words}: {group.where}", group.outcome.value)


def story_lines(story: Story, number: int, *, everything: bool = False) -> Iterator[Line]:
    """One story, its verdict first."""
    yield Line(f"{number}. {_headline(story)}", story.outcome.value)
    verdict = story.verdict
    if verdict is not None:
        yield Line(f"   {verdict.summary}", "bad" if story.outcome is Outcome.FAILED else "")
        yield Line("")
        yield from advice(verdict)
    others = [finding for finding in story.findings if finding is not verdict]
    if others:
        yield Line("   Also:", "label")
        for finding in others:
            sure = "" if finding.confidence.value == "certain" else f", {finding.confidence}"
            yield Line(f"     {finding.code} ({finding.severity}{sure}): {finding.summary}")
    if story.related:
        places = ", ".join(str(place + 1) for place in story.related)
        yield Line(f"   Belongs together with: {places}", "label")
    bad = story.outcome is not Outcome.OK
    if bad or everything:
        yield from _contexts(story, everything=everything)
        yield from _sequence(story, everything=everything)


def _headline(story: Story) -> str:
    started = timestamp(story.started) or ""
    if story.kind == "capture":
        return f"{story.outcome.upper()}  the capture"
    return f"{story.outcome.upper()}  {story.requestor} → {story.acceptor}  {started}"


def advice(finding: Finding) -> Iterator[Line]:
    """Whose side, why, what to change, what to check next."""
    who = {
        Side.REQUESTOR: "the requestor's (who opened the connection)",
        Side.ACCEPTOR: "the acceptor's (who was called)",
        Side.NETWORK: "the network between them",
        Side.EITHER: "either's",
    }[finding.side]
    yield Line(f"   Whose side   {who}")
    yield Line(f"   Why          {finding.why}")
    for side, words in finding.fix.as_json().items():
        yield Line(f"   Change, {side}: {words}")
    if finding.check:
        yield Line(f"   Check next   {finding.check}")
    source = f"   {finding.code} · {finding.layer} · {finding.confidence} · {finding.reference}"
    yield Line(source, "dim")


def _contexts(story: Story, *, everything: bool) -> Iterator[Line]:
    refused = [line for line in story.negotiation if line.change]
    shown = story.negotiation if everything else refused[:CONTEXTS_SHOWN]
    if not shown:
        return
    yield Line("   Presentation contexts", "label")
    for line in shown:
        syntaxes = ", ".join(name_of(uid) for uid in line.transfer_syntaxes[:4])
        more = f" and {len(line.transfer_syntaxes) - 4} more" if len(line.transfer_syntaxes) > 4 else ""
        yield Line(f"     {line.presentation_context_id:>3}  asked: {name_of(line.abstract_syntax)}")
        yield Line(f"          in: {syntaxes}{more}", "dim")
        yield Line(f"          {line.words}")
        if line.change:
            yield Line(f"          to make it work: {line.change}")
    if len(refused) > len(shown):
        yield Line(f"     ... {len(refused) - len(shown)} more were refused", "dim")


def _sequence(story: Story, *, everything: bool) -> Iterator[Line]:
    if not story.events:
        return
    yield Line("   Sequence     (seconds, frame; → by the requestor, ← by the acceptor)", "label")
    start = story.started or story.events[0].time
    events, left_out = story.events, story.events_omitted
    if len(events) > EVENTS_SHOWN and not everything:
        half = EVENTS_SHOWN // 2
        left_out += len(events) - EVENTS_SHOWN
        first, last = events[:half], events[-half:]
    else:
        first, last = events, ()
    yield from (_event_line(event, start) for event in first)
    if left_out:
        yield Line(f"     ... {left_out} more events", "dim")
    yield from (_event_line(event, start) for event in last)


def _event_line(event: Event, start: float) -> Line:
    arrow = {Side.REQUESTOR: "→", Side.ACCEPTOR: "←"}.get(event.sender or Side.EITHER, "·")
    frame = f"{event.frame:>6}" if event.frame else "      "
    text = f"   {event.time - start:>10.6f} {frame} {arrow} {event.name}  {event.detail}"
    return Line(text.rstrip(), "bad" if event.bad else "")
