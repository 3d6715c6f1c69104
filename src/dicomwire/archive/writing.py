"""The archive's side that receives: what is complete goes to the writer, and its answers come back.

The writer is a process of its own, or a thread for those who open an archive for a moment; either way it is
reached by one dialogue over a socket, and by memory that both see. A writer that ends unasked is begun again:
what it had not answered is refused, for nobody knows whether it is durable; sent again it is recognised.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import time_ns
from typing import Any, Final, NamedTuple

import structlog

from dicomwire.archive.arrival import Offered
from dicomwire.archive.budget import Budget
from dicomwire.archive.committer import CLOSED
from dicomwire.archive.dialogue import Answer, Message, Own, outcome_of, unpacked
from dicomwire.archive.disk import Disk
from dicomwire.archive.life import begin
from dicomwire.archive.line import Line, is_current
from dicomwire.archive.segments import NUMBER_STEP, SegmentReader, SegmentWriter
from dicomwire.archive.slots import Slot, Slots
from dicomwire.archive.values import ArchiveOptions, Damage, Outcome, Verdict
from dicomwire.errors import ArchiveError

log = structlog.get_logger()

_ENDED: Final = "The archive's writer ended before it answered; send it again"
_LIVES: Final = 3  # writers in a row that may end before they answer anything


class _Pending(NamedTuple):
    """An arrival that is not answered yet. size: bytes that it keeps waiting."""

    offered: Offered
    done: Callable[[Outcome], None]
    slot: Slot | None = None
    size: int = 0


@dataclass(slots=True)
class _Call:
    """Something that was asked of the writer."""

    finished: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.finished.set()


class Writing:
    """The way to the writer of one archive.

    Attributes:
        options: the archive's.
        budget: what waits for the disk.
        disk: as this side knows it.
        slots: memory for what arrives.
        damage: what the writer found when it opened the archive.
        on_stored: called in the loop behind each batch that has been answered.
    """

    def __init__(self, data: Path, options: ArchiveOptions, reader: SegmentReader, *, rebuild: bool) -> None:
        """Begin a writer and wait until it has brought the catalogue up to date.

        Raises: ArchiveError, OSError, when it cannot.
        """
        self.options = options
        self.budget = Budget(options.memory, lambda: len(self._pending))
        self.disk = Disk(data / "segments", options.free_space, self._tell_broken)
        self.slots = Slots(options.large)
        self.damage: tuple[Damage, ...] = ()
        self.on_stored: Callable[[], None] = lambda: None
        self._data = data
        self._reader = reader
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tickets = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count()  # of own segments
        self._under_way: set[int] = set()  # those that are still being written on this side
        self._taken: dict[str, Callable[..., None]] = {
            "answered": self._answered,
            "returned": self._returned,
            "opened": self._opened,
            "failed": self._failed,
            "broken": self._broken,
            "unlinked": reader.forget,
            "logged": _logged,
        }
        self._lives = _LIVES
        self._was_open = False
        self._closing = False
        self._closed = threading.Event()
        self._change = threading.RLock()  # nothing is asked of a writer while another takes its place
        self._begin(rebuild=rebuild)
        self._line.wait(self._opening.finished)
        if self._opening.error is not None:
            self.close()
            raise self._opening.error

    # the writer's life

    def _begin(self, *, rebuild: bool = False) -> None:
        self._opening = _Call()
        self._life, ours = begin(self.options.writer, self.slots.descriptor)
        self._line = Line(ours, self._take, self._ended)
        following, under_way = next(self._numbers), list(self._under_way)
        self._line.send(("open", str(self._data), asdict(self.options), rebuild, following, under_way))

    def _opened(self, indexed: int, damage: Sequence[tuple[Any, ...]], next_own: int) -> None:
        self.damage = tuple(Damage(*each) for each in damage)
        for found in self.damage:
            log.error("archive.damage", segment=found.segment, offset=found.offset, reason=found.reason)
        if indexed:
            log.info("archive.recovered", instances=indexed)
        self._numbers = itertools.count(max(next_own, next(self._numbers)), NUMBER_STEP)
        self._was_open = True
        self._opening.finished.set()

    def _failed(self, error: bytes) -> None:
        self._opening.fail(unpacked(error))
        if self._was_open:
            self.disk.broken = f"The archive's writer cannot begin again: {self._opening.error}"
            self._line.send(("close",))

    def _ended(self) -> None:
        """The writer is gone: as it was told, or not."""
        with self._change:
            lost, self._pending = self._pending, {}
            calls, self._calls = self._calls, {}
            why = self._succeed(len(lost))
        self._answered(
            [
                (ticket, Verdict.OUT_OF_RESOURCES.value, why, *pending.offered[:2])
                for ticket, pending in lost.items()
            ],
            lost,
        )
        for call in calls.values():
            call.fail(ArchiveError(why))

    def _succeed(self, unanswered: int) -> str:
        """Have another writer in its place, unless it was told to end. Returns: words for what is lost."""
        if self._closing:
            self._closed.set()
            return CLOSED
        status = self._life.end()
        if not self._was_open:
            self._opening.fail(ArchiveError(f"The archive's writer ended: {status}"))
            self._closed.set()
            return CLOSED
        log.critical("archive.writer_ended", status=status, unanswered=unanswered)
        self._lives -= 1
        if not self._lives or self.disk.broken:
            words = f"The archive's writer ended {_LIVES} times ({status}); restart after repair"
            self.disk.broken = self.disk.broken or words
            self._closed.set()
            return self.disk.broken
        self._reader.close()  # the next writer's segments have numbers of their own, and maps too
        self._begin()
        if self._loop is not None and not self._loop.is_closed():
            self._line.start(self._loop)
        return _ENDED

    def _tell_broken(self, why: str) -> None:
        self._line.send(("broken", why))

    def _broken(self, why: str) -> None:
        self.disk.broken = why

    def close(self) -> None:
        """Have everything committed and answered, and the writer end; blocking."""
        self._closing = True
        self._line.send(("close",))
        self._line.wait(self._closed)
        self._life.end()
        self.slots.close()

    # arrivals

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer in this loop from now on; called in its thread, or before it runs."""
        self._loop = loop
        self._line.start(loop)

    def arrived(
        self,
        offered: Offered,
        head: bytes,
        origin: bytes,
        slot: Slot | None,
        length: int,
        done: Callable[[Outcome], None],
    ) -> None:
        """An instance is complete; the loop's thread.

        head: what came before the data set, or b"". slot: where the data set is; None when it is empty.
        """
        ticket = next(self._tickets)
        self.budget.waiting += length
        number = slot.number if slot is not None else 0
        message = ("arrived", ticket, number, length, offered, head, origin, time_ns())
        self._submit(ticket, _Pending(offered, done, slot, length), message)

    def arrived_in(
        self, own: Own, offered: Offered, meta_length: int, origin: bytes, done: Callable[[Outcome], None]
    ) -> None:
        """A large instance is complete in a segment of its own; any thread."""
        ticket = next(self._tickets)
        message = ("arrived_in", ticket, tuple(own), meta_length, offered, origin, time_ns())
        self._submit(ticket, _Pending(offered, done), message, own.number)

    def _submit(self, ticket: int, pending: _Pending, message: Message, own: int = 0) -> None:
        with self._change:
            self._under_way.discard(own)
            self._pending[ticket] = pending
            if not self._closed.is_set() and not self._closing:
                self._line.send(message)
                return
        why = self.disk.broken or CLOSED
        said = (ticket, Verdict.OUT_OF_RESOURCES.value, why, *pending.offered[:2])
        assert self._loop is not None, "the archive is not started"
        self._loop.call_soon_threadsafe(self._answer, [said], self._pending)

    def new_segment(self) -> SegmentWriter:
        """A segment for one large instance; any thread. Raises: OSError."""
        with self._change:
            number = next(self._numbers)
            self._under_way.add(number)
        try:
            return SegmentWriter(self._data / "segments", number, preallocate=False)
        except OSError:
            self._under_way.discard(number)
            raise

    def discard(self, segment: SegmentWriter) -> None:
        """A large instance will not be complete; any thread."""
        segment.discard()
        self._under_way.discard(segment.number)

    def _take(self, message: Message) -> None:
        self._taken[message[0]](*message[1:])

    def _answered(self, answers: Sequence[Answer], asked: dict[int, _Pending] | None = None) -> None:
        """asked: what is answered; what is pending without it."""
        if asked is None:
            asked, self._lives = self._pending, _LIVES
        loop = self._loop
        if loop is not None and is_current(loop):
            self._answer(answers, asked)
        elif loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._answer, answers, asked)
        elif answers:  # the loop closed: nobody is left to be told
            log.warning("archive.unanswered", instances=len(answers))

    def _answer(self, answers: Sequence[Answer], asked: dict[int, _Pending]) -> None:
        size = 0
        for said in answers:
            pending = asked.pop(said[0], None)
            if pending is None:
                continue
            if pending.slot is not None:
                self.slots.give(pending.slot, pending.size)
            size += pending.size
            try:
                pending.done(outcome_of(said))
            except Exception:
                log.exception("archive.answer_failed")
        self.budget.release(size)
        self.on_stored()

    # calls

    def call(self, name: str, *arguments: Any) -> Any:
        """Have the writer do something else, and wait for its result; blocking, any thread.

        Raises: what the writer raised; ArchiveError, when the archive is closed or the writer ends.
        """
        if self._closing:
            raise ArchiveError(CLOSED)
        ticket, call = next(self._tickets), _Call()
        with self._change:
            self._calls[ticket] = call
            self._line.send((name, ticket, *arguments))
        while not call.finished.is_set():
            if self._closed.is_set():
                raise ArchiveError(self.disk.broken or CLOSED)
            self._line.wait(call.finished)
        if call.error is not None:
            raise call.error
        return call.value

    def _returned(self, ticket: int, value: Any, error: bytes | None) -> None:
        call = self._calls.pop(ticket, None)
        if call is None:
            return
        call.value = value
        call.error = unpacked(error) if error is not None else None
        call.finished.set()


def _logged(method: str, event: str, fields: dict[str, Any]) -> None:
    """The writer's log goes where the node's goes."""
    getattr(log, method)(event, **fields)
