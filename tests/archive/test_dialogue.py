"""What the two sides of an archive say to each other, and the memory that they share."""

from __future__ import annotations

import mmap
import pickle

import pytest

from dicomwire.archive.dialogue import Message, Messages, answer, encode, outcome_of, packed, unpacked
from dicomwire.archive.slots import Slots
from dicomwire.archive.values import Outcome, Verdict
from dicomwire.errors import ArchiveError

MESSAGES: list[Message] = [
    ("arrived", 7, 3, 10_000, ("1.2", "1.3", "1.2.840.10008.1.2.1", None), b"", b'{"door":"web"}', 1),
    ("close",),
    ("logged", "info", "archive.recovered", {"instances": 3}),
]


def test_messages_come_out_as_they_went_in_wherever_the_stream_is_cut() -> None:
    stream = b"".join(map(encode, MESSAGES))
    for cut in range(len(stream) + 1):
        reader = Messages()
        assert [*reader.feed(stream[:cut]), *reader.feed(stream[cut:])] == MESSAGES
    reader = Messages()
    assert [each for byte in stream for each in reader.feed(bytes([byte]))] == MESSAGES


def test_an_outcome_travels_whole() -> None:
    said = Outcome(Verdict.CONFLICT, "other content", "1.2", "1.3", "1.4", "1.5", 12)
    assert outcome_of(answer(5, said)) == said


@pytest.mark.parametrize("error", [ArchiveError("no room"), OSError(28, "No space left on device")])
def test_an_exception_travels_as_what_it_is(error: Exception) -> None:
    found = unpacked(packed(error))
    assert type(found) is type(error)
    assert str(found) == str(error)


def test_an_exception_that_cannot_travel_is_told_in_words() -> None:
    class Local(Exception):
        pass

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(Local("why"))
    found = unpacked(packed(Local("why")))
    assert isinstance(found, ArchiveError)
    assert str(found) == "Local: why"


def test_both_sides_see_the_bytes_of_a_slot() -> None:
    ours = Slots(1000)
    theirs = Slots(1000, ours.descriptor)
    first, second = ours.take(), ours.take()
    assert first is not None
    assert second is not None
    second.view[:5] = b"image"
    assert theirs.view(second.number, 5) == b"image"
    assert theirs.view(first.number, 5) == bytes(5)
    ours.close()


def test_the_slot_that_was_given_back_last_is_taken_first() -> None:
    slots = Slots(1000)
    first, second = slots.take(), slots.take()
    assert first is not None
    assert second is not None
    slots.give(first, 10)
    slots.give(second, 10)
    assert slots.take() is second
    assert slots.take() is first
    slots.close()


def test_what_many_slots_needed_once_goes_back_to_the_system() -> None:
    """A few megabytes stay warm, whatever was under way at once."""
    size = 1 << 20
    slots = Slots(size)
    taken = [slots.take() for _ in range(64)]
    for slot in taken:
        assert slot is not None
        slot.view[:] = b"\1" * size
    for slot in taken:
        assert slot is not None
        slots.give(slot, size)
    blank = sum(slots.view(number, mmap.PAGESIZE) == bytes(mmap.PAGESIZE) for number in range(64))
    assert blank >= 64 - 17
    slots.close()


def test_there_is_an_end_of_slots() -> None:
    slots = Slots(8 << 30)
    assert slots.take() is not None
    assert slots.take() is None
    slots.close()
