"""The archive's side that writes: scans what has arrived, and has the committer make it durable.

It runs in a process of its own, so that receiving and writing share no interpreter; or in a thread. Told to
end, it commits first what has arrived. When the node dies the process ends at once, as one power cut would
end both.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from dicomwire.archive.arrival import Arrival, Offered, judged, preface
from dicomwire.archive.backup import unlinking
from dicomwire.archive.catalogue import DatabaseError
from dicomwire.archive.catalogue_writer import CatalogueWriter
from dicomwire.archive.committer import FAILED, Committer
from dicomwire.archive.compaction import compact
from dicomwire.archive.dialogue import RECEIVE, Message, Messages, Own, answer, encode, packed
from dicomwire.archive.disk import Disk, words_for
from dicomwire.archive.entry import Entry
from dicomwire.archive.recovery import recover
from dicomwire.archive.segments import NUMBER_STEP, SegmentReader, SegmentWriter, numbers_in
from dicomwire.archive.slots import Slots
from dicomwire.archive.values import ArchiveOptions, Outcome, Verdict
from dicomwire.dicom.outline import Outlines
from dicomwire.errors import ArchiveError

log = structlog.get_logger()

_PATIENCE: Final = 30.0  # seconds for the writer of a node that was killed to end
_AGAIN: Final = 0.02
_IDLE: Final = 20  # milliseconds without an arrival before space is prepared
_SKIPPED: Final = 1 << 10  # segment numbers that writers which ended may have given


class Writer:
    """Serves one socket until its other end is closed."""

    def __init__(
        self, connected: socket.socket, slots: int, on_death: Callable[[], None] = lambda: None
    ) -> None:
        """slots: descriptor of the memory in which instances arrive. on_death: of the other side."""
        self._socket = connected
        self._shared = slots
        self._on_death = on_death
        self._sending = threading.Lock()
        self._asked: dict[str, Callable[..., None]] = {
            "open": self._open,
            "arrived": self._arrived,
            "arrived_in": self._arrived_in,
            "remove": partial(self._call, self._remove),
            "compact": partial(self._call, self._compact),
            "broken": self._broken,
        }
        self._calls = ThreadPoolExecutor(2, "call")
        self._scans = ThreadPoolExecutor(2, "scan")  # of large instances
        self._woken, self._wake = os.pipe()  # written to by who calls the committer from another thread
        self._waiting = select.poll()
        for descriptor in (connected.fileno(), self._woken):
            self._waiting.register(descriptor, select.POLLIN)
        self._lock = -1
        self._committer: Committer | None = None

    def run(self) -> None:
        """Do what is asked, until the end."""
        try:
            self._serve()
        except Exception:
            log.exception("archive.writer_failed")
        finally:
            self._close()

    def _serve(self) -> None:
        messages = Messages()
        while data := self._next():
            for message in messages.feed(data):
                if message[0] == "close":
                    return
                self._asked[message[0]](*message[1:])
        self._on_death()

    def _next(self) -> bytes:
        """What comes next; until it does what has come is committed, and space prepared. b"" at the end."""
        while True:
            committer = self._committer
            if committer is None:
                return self._socket.recv(RECEIVE)
            if not committer.full:
                with suppress(BlockingIOError):
                    return self._socket.recv(RECEIVE, socket.MSG_DONTWAIT)
            if committer.work():
                continue
            prepared = committer.prepared
            if not (events := self._waiting.poll(None if prepared else _IDLE)):
                committer.prepare()
            elif any(descriptor == self._woken for descriptor, _ in events):
                os.read(self._woken, RECEIVE)

    def send(self, message: Message) -> None:
        """Tell the other side; any thread. It may be gone."""
        try:
            with self._sending:
                self._socket.sendall(encode(message))
        except OSError:
            return

    def _open(
        self, data: str, options: dict[str, Any], rebuild: bool, following: int, under_way: list[int]
    ) -> None:
        """following: number of the other side's next segment; 0 for the first writer of a life.

        under_way: numbers of those that it is writing.
        """
        try:
            opened = self._opened(Path(data), ArchiveOptions(**options), rebuild, following, under_way)
        except Exception as error:
            self.send(("failed", packed(error)))
            return
        self.send(opened)

    def _opened(
        self, data: Path, options: ArchiveOptions, rebuild: bool, following: int, under_way: list[int]
    ) -> Message:
        folder = data / "segments"
        self._data = data
        self._options = options
        self._outlines = Outlines()
        self._slots = Slots(options.large, self._shared)
        self._lock = _locked(data)
        catalogue = _catalogue(data / "catalogue.sqlite")
        catalogue.remembers_removed = options.remembers_removed

        def theirs(number: int) -> bool:
            return number in under_way or (0 < following <= number and number % NUMBER_STEP == 0)

        indexed, damage = recover(folder, catalogue, options, rebuild=rebuild, under_way=theirs)
        floor = following + _SKIPPED if following else 0
        newest = max((floor, *numbers_in(folder), *catalogue.segments()))
        first = newest + 1 + newest % NUMBER_STEP  # odd
        self._reader = SegmentReader(folder)
        self._disk = Disk(folder, options.free_space, lambda why: self.send(("broken", why)))
        self._committer = Committer(
            folder, catalogue, self._reader, options, self._disk, self._reply, next_segment=first
        )
        self._committer.on_unlinked = lambda number: self.send(("unlinked", number))
        self._committer.on_call = self._wake_up
        return (
            "opened",
            indexed,
            [(each.segment, each.offset, each.reason, each.sop_instance_uid) for each in damage],
            first + 1,
        )

    def _wake_up(self) -> None:
        os.write(self._wake, b"\0")

    def _close(self) -> None:
        """Commit what has arrived, answer it, and give everything back."""
        self._scans.shutdown()
        if (committer := self._committer) is not None:
            committer.close()
        self._calls.shutdown()
        if committer is not None:
            try:
                committer.catalogue.close()
            except DatabaseError as error:  # such as a full disk: the next start makes up for it
                log.error("archive.catalogue_failed", error=str(error))
            self._reader.close()
        if self._lock >= 0:
            os.close(self._lock)
        for descriptor in (self._shared, self._woken, self._wake):
            os.close(descriptor)
        self._socket.close()

    # arrivals

    def _arrived(
        self,
        ticket: int,
        slot: int,
        length: int,
        offered: Offered,
        head: bytes,
        origin: bytes,
        received: int,
    ) -> None:
        """One is complete in a slot."""
        data = self._slots.view(slot, length)
        entry = judged(data, offered, self._options, self._outlines)
        if isinstance(entry, Outcome):
            self._say(ticket, entry)
            return
        meta = preface(offered, head)
        entry.length, entry.data_set_offset = len(meta) + length, len(meta)
        self._submit(Arrival(ticket, entry, origin, received, payload=(meta, data), size=entry.length))

    def _arrived_in(
        self,
        ticket: int,
        place: tuple[int, int, int, int, int],
        meta_length: int,
        offered: Offered,
        origin: bytes,
        received: int,
    ) -> None:
        """One is complete in a segment of its own; others go on while its many fragments are walked."""
        self._scans.submit(self._scan, ticket, Own(*place), meta_length, offered, origin, received)

    def _scan(
        self, ticket: int, own: Own, meta_length: int, offered: Offered, origin: bytes, received: int
    ) -> None:
        try:
            found = self._judged_in(own, meta_length, offered)
        except OSError as error:
            found = Outcome(Verdict.OUT_OF_RESOURCES, words_for(error), offered[0], offered[1])
        except Exception:
            log.exception("archive.scan_failed")
            found = Outcome(Verdict.OUT_OF_RESOURCES, FAILED, offered[0], offered[1])
        if isinstance(found, Outcome):
            self._say(ticket, found)
            return
        entry, writer = found
        self._submit(Arrival(ticket, entry, origin, received, own=writer))
        self._wake_up()

    def _judged_in(
        self, own: Own, meta_length: int, offered: Offered
    ) -> tuple[Entry, SegmentWriter] | Outcome:
        """What a segment of its own holds; what is not taken goes. Raises: OSError."""
        writer = SegmentWriter(self._data / "segments", own.number, preallocate=False, identity=own.identity)
        mapping = self._reader.open(own.number, own.end)
        data = mapping.view[own.start + meta_length : own.end]
        entry = judged(data, offered, self._options, Outlines())
        mapping.was_read(own.end)
        if isinstance(entry, Outcome):
            self._reader.forget(own.number)
            writer.discard()
            return entry
        entry.segment, entry.offset, entry.crc = own.number, own.start, own.crc
        entry.length, entry.data_set_offset = own.end - own.start, meta_length
        return entry, writer

    def _submit(self, arrival: Arrival) -> None:
        self._opened_one().submit(arrival)

    def _opened_one(self) -> Committer:
        assert self._committer is not None, "nothing comes before the archive is open"
        return self._committer

    def _say(self, ticket: int, outcome: Outcome) -> None:
        self.send(("answered", [answer(ticket, outcome)]))

    def _reply(self, answers: Sequence[tuple[Arrival, Outcome]]) -> None:
        self.send(("answered", [answer(arrival.ticket, said) for arrival, said in answers]))

    def _broken(self, why: str) -> None:
        self._disk.broken = why

    # calls

    def _call(self, run: Callable[..., Any], ticket: int, *arguments: Any) -> None:
        """Run something that takes a while, while arrivals go on."""

        def called() -> None:
            value, failure = None, None
            try:
                value = run(*arguments)
            except BaseException as error:
                failure = packed(error)
            self.send(("returned", ticket, value, failure))

        self._calls.submit(called)

    def _remove(self, record_ids: list[int]) -> None:
        committer = self._opened_one()
        committer.call(lambda: committer.remove(record_ids))

    def _compact(self, least_waste: float) -> int:
        committer = self._opened_one()
        with unlinking(self._data):
            numbers = committer.call(committer.catalogue.segments)
            return sum(compact(committer, number, least_waste) for number in numbers)


def _locked(data: Path) -> int:
    """Be the only writer. Raises: ArchiveError, when another one does not end."""
    descriptor = os.open(data / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    given_up = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > given_up:
                os.close(descriptor)
                raise ArchiveError(f"{data}: the writer of a node that ended is still at work") from None
            time.sleep(_AGAIN)
        else:
            return descriptor


def _catalogue(path: Path) -> CatalogueWriter:
    """The catalogue; one that is no database any more is put aside and made again from the segments."""
    try:
        return CatalogueWriter(path)
    except DatabaseError as error:
        if "not a database" not in str(error) and "malformed" not in str(error):
            raise ArchiveError(f"{path}: {error}") from None
        log.error("archive.catalogue_unreadable", error=str(error))
        for suffix in ("", "-wal", "-shm"):
            broken = path.with_name(path.name + suffix)
            if broken.exists():
                broken.replace(broken.with_name(f"{broken.name}.broken"))
        return CatalogueWriter(path)


def main(connected: int) -> None:
    """The process: it ends with the node, not by signals that are meant for both, and logs through it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    theirs = socket.socket(fileno=connected)
    _, descriptors, *_ = socket.recv_fds(theirs, 1, 1)
    if not descriptors:  # the node has no use for it
        return
    writer = Writer(theirs, descriptors[0], lambda: os._exit(0))

    def told(_: object, method: str, event: MutableMapping[str, Any]) -> str:
        fields = {
            key: value if isinstance(value, (str, int, float)) else str(value) for key, value in event.items()
        }
        writer.send(("logged", "error" if method == "exception" else method, fields.pop("event"), fields))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, told])
    writer.run()
