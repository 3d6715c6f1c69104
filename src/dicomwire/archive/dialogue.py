"""How the two sides of an archive talk: messages on a stream, each a tuple of plain values.

The first value of a message is its name: the method of the other side that takes the rest.
"""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Iterator
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from dicomwire.archive.values import Outcome, Verdict
from dicomwire.errors import ArchiveError

Message: TypeAlias = tuple[Any, ...]
Answer: TypeAlias = tuple[Any, ...]
"""The ticket of an arrival, then the fields of its outcome."""


class Own(NamedTuple):
    """A large instance's own segment: which it is, and where and what the payload is."""

    number: int
    identity: int
    start: int
    end: int
    crc: int


RECEIVE: Final = 1 << 18  # bytes of one read
_LENGTH: Final = Struct("<I")


def encode(message: Message) -> bytes:
    """A message as it is sent."""
    content = marshal.dumps(message)
    return _LENGTH.pack(len(content)) + content


class Messages:
    """Messages from a stream's bytes, in any chunking."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """What these bytes complete."""
        data = self._held + data if self._held else data
        at, end = 0, len(data)
        while end - at >= _LENGTH.size:
            behind = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
            if behind > end:
                break
            yield marshal.loads(memoryview(data)[at + _LENGTH.size : behind])
            at = behind
        self._held = data[at:]


def answer(ticket: int, outcome: Outcome) -> Answer:
    return (
        ticket,
        outcome.verdict.value,
        outcome.comment,
        outcome.sop_class_uid,
        outcome.sop_instance_uid,
        outcome.study_instance_uid,
        outcome.series_instance_uid,
        outcome.record_id,
    )


def outcome_of(said: Answer) -> Outcome:
    return Outcome(Verdict(said[1]), *said[2:])


def packed(error: BaseException) -> bytes:
    """An exception as a value; one that cannot travel becomes an ArchiveError of its words."""
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
    except Exception:
        content = pickle.dumps(ArchiveError(f"{type(error).__name__}: {error}"))
    return content


def unpacked(content: bytes) -> BaseException:
    error = pickle.loads(content)
    assert isinstance(error, BaseException)
    return error
