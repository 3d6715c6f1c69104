"""What a conversation is made of: who sent what and where, what was wrong with it, the events to show."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from dicomwire.diagnose.finding import Event, Evidence, FieldValue, Side
from dicomwire.diagnose.stream import Place

FIRST_EVENTS: Final = 300  # of one conversation; so many from its beginning
LAST_EVENTS: Final = 100  # and so many before its end


class Fault(NamedTuple):
    """Something in the bytes that cannot be.

    Attributes:
        code: of the rule that explains it.
        message: what, where, got and wanted.
        section: of the standard.
        side: who sent it.
        place: where.
    """

    code: str
    message: str
    section: str
    side: Side
    place: Place


T = TypeVar("T")


class Sent(NamedTuple, Generic[T]):
    """A PDU, who sent it, and where."""

    pdu: T
    side: Side
    place: Place

    def evidence(self, what: str, **fields: FieldValue) -> Evidence:
        return evidence(what, self.side, self.place, **fields)


def evidence(what: str, side: Side | None, place: Place, **fields: FieldValue) -> Evidence:
    """Evidence at a place of a side's stream."""
    span = (place.start, place.end) if place.end > place.start else None
    return Evidence(
        what=what, frame=place.frame or None, time=place.time, sender=side, byte_range=span, fields=fields
    )


class EventLog:
    """Events in bounded memory: the first ones and the last ones."""

    __slots__ = ("_first", "_last", "omitted")

    def __init__(self) -> None:
        self._first: list[Event] = []
        self._last: deque[Event] = deque(maxlen=LAST_EVENTS)
        self.omitted = 0

    def add(self, event: Event) -> None:
        if len(self._first) < FIRST_EVENTS:
            self._first.append(event)
            return
        self.omitted += len(self._last) == LAST_EVENTS
        self._last.append(event)

    def shorten(self, first: int, last: int) -> None:
        """Keep fewer of them."""
        events = [*self._first, *self._last]
        if len(events) > first + last:
            self.omitted += len(events) - first - last
            self._first, self._last = events[:first], deque(events[-last:], maxlen=LAST_EVENTS)

    def __iter__(self) -> Iterator[Event]:
        yield from self._first
        yield from self._last
