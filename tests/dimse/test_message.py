"""Fragments to messages and back: any fragmentation, no interleaving, even fragments."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomwire.dimse.codec import encode
from dicomwire.dimse.command import CEchoRq, CStoreRq
from dicomwire.dimse.message import (
    COMMAND_SET_LIMIT,
    OWN_MAXIMUM_LENGTH,
    Assembler,
    CommandReceived,
    DataSetFragment,
    Run,
    runs,
    values,
)
from dicomwire.errors import LocalProtocolError, MessageError
from dicomwire.upper_layer.events import DataFragment
from dicomwire.upper_layer.pdu import Buffer, PresentationDataValue

STORE = CStoreRq(1, "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4")
ECHO = CEchoRq(2, "1.2.840.10008.1.1")
DATA, LAST_DATA, COMMAND, LAST_COMMAND = 0, 2, 1, 3


def fragment(context: int, control: int, data: bytes, end: bool = True) -> DataFragment:
    return DataFragment(context, control, memoryview(data), end)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(bounds)]


def as_fragments(
    context: int, control: int, data: bytes, places: list[tuple[int, bool]]
) -> list[DataFragment]:
    """A set cut into PDVs and parts of PDVs, empty ones too; the last bit is on all parts of the last PDV."""
    pieces = cut(data, [place for place, _ in places])
    ends = [end for _, end in places] + [True]
    last_begins = max((index + 1 for index, end in enumerate(ends[:-1]) if end), default=0)
    return [
        fragment(context, control | (2 if index >= last_begins else 0), piece, end)
        for index, (piece, end) in enumerate(zip(pieces, ends, strict=True))
    ]


PLACES = st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=8)


@settings(max_examples=200)
@given(st.binary(max_size=200), PLACES, PLACES, st.integers(1, 255))
def test_any_fragmentation_gives_the_same_messages(
    data: bytes, command_places: list[tuple[int, bool]], data_places: list[tuple[int, bool]], context: int
) -> None:
    assembler = Assembler()
    events = []
    for piece in (
        *as_fragments(context, COMMAND, encode(STORE), command_places),
        *as_fragments(context, DATA, data, data_places),
        *as_fragments(context, COMMAND, encode(ECHO), command_places),
    ):
        event = assembler.feed(piece)
        if event is not None:
            events.append(event)
    assert events[0] == CommandReceived(context, STORE, ())
    assert events[-1] == CommandReceived(context, ECHO, ())
    middle = [event for event in events[1:-1] if isinstance(event, DataSetFragment)]
    assert len(middle) == len(events) - 2
    assert b"".join(bytes(event.data) for event in middle) == data
    assert [event.last for event in middle] == [False] * (len(middle) - 1) + [True]


def test_data_set_is_passed_on_as_the_views_that_came() -> None:
    assembler = Assembler()
    assembler.feed(fragment(1, LAST_COMMAND, encode(STORE)))
    data = memoryview(bytearray(b"abcdef"))
    event = assembler.feed(DataFragment(1, LAST_DATA, data, False))
    assert event == DataSetFragment(1, data, False)
    assert event.data is data


def test_empty_values_are_accepted_anywhere_in_a_message() -> None:
    assembler = Assembler()
    assert assembler.feed(fragment(1, COMMAND, b"")) is None
    assert assembler.feed(fragment(1, COMMAND, encode(STORE))) is None
    assert assembler.feed(fragment(1, LAST_COMMAND, b"")) == CommandReceived(1, STORE, ())
    assert assembler.feed(fragment(1, DATA, b"")) == DataSetFragment(1, memoryview(b""), False)
    assert assembler.feed(fragment(1, LAST_DATA, b"")) == DataSetFragment(1, memoryview(b""), True)
    assert assembler.feed(fragment(3, LAST_COMMAND, encode(ECHO))) == CommandReceived(3, ECHO, ())


def test_reserved_bits_of_the_control_header_are_not_looked_at() -> None:
    assert Assembler().feed(fragment(1, 0xFF, encode(ECHO))) == CommandReceived(1, ECHO, ())


@pytest.mark.parametrize(
    "fragments",
    [
        [(1, COMMAND, b"\0"), (3, COMMAND, b"\0")],
        [(1, COMMAND, b""), (3, LAST_COMMAND, encode(ECHO))],
        [(1, COMMAND, b"\0"), (1, DATA, b"\0")],
        [(1, LAST_COMMAND, encode(STORE)), (1, LAST_COMMAND, encode(ECHO))],
        [(1, LAST_COMMAND, encode(STORE)), (1, DATA, b"\0"), (1, LAST_COMMAND, encode(ECHO))],
        [(1, LAST_COMMAND, encode(STORE)), (3, DATA, b"\0")],
        [(1, LAST_COMMAND, encode(STORE)), (3, LAST_COMMAND, encode(ECHO))],
        [(1, DATA, b"\0")],
        [(1, LAST_DATA, b"")],
        [(1, LAST_COMMAND, encode(ECHO)), (1, LAST_DATA, b"\0")],
        [(1, LAST_COMMAND, encode(STORE)), (1, LAST_DATA, b"\0"), (1, DATA, b"\0")],
        [(1, LAST_COMMAND, b"")],
        [(1, LAST_COMMAND, b"\0" * 8)],
    ],
)
def test_fragments_that_make_no_message_are_refused(fragments: list[tuple[int, int, bytes]]) -> None:
    assembler = Assembler()
    *before, refused = (fragment(*parts) for parts in fragments)
    for accepted in before:
        assembler.feed(accepted)
    with pytest.raises(MessageError):
        assembler.feed(refused)


def test_command_set_cut_at_any_byte_and_marked_last_is_refused() -> None:
    data = encode(ECHO)
    for length in range(len(data)):
        with pytest.raises(MessageError):
            Assembler().feed(fragment(1, LAST_COMMAND, data[:length]))


@pytest.mark.parametrize("size", [1_024, COMMAND_SET_LIMIT + 1])
def test_command_set_above_64_kib_is_refused(size: int) -> None:
    assembler = Assembler()
    for _ in range(COMMAND_SET_LIMIT // size):
        assembler.feed(fragment(1, COMMAND, b"\0" * size))
    with pytest.raises(MessageError, match="65536"):
        assembler.feed(fragment(1, COMMAND, b"\0" * size))


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4), st.integers(0, 255), st.sampled_from([b"", b"\0", encode(ECHO), encode(STORE)])
        )
    )
)
def test_any_fragments_are_events_or_a_message_error(fragments: list[tuple[int, int, bytes]]) -> None:
    assembler = Assembler()
    for context, control, data in fragments:
        try:
            assembler.feed(fragment(context, control, data))
        except MessageError:
            return


PIECES = st.lists(st.binary(max_size=40), max_size=6)


@settings(max_examples=200)
@given(PIECES, st.one_of(st.integers(8, 60), st.just(0)))
def test_values_are_even_fit_the_maximum_length_and_give_the_data_again(
    pieces: list[bytes], maximum: int
) -> None:
    sent = list(values(5, encode(STORE), pieces, maximum))
    assert {value.presentation_context_id for value in sent} == {5}
    assert all(len(value.data) + 6 <= (maximum or OWN_MAXIMUM_LENGTH) for value in sent)
    command = [value for value in sent if value.control & 1]
    data = sent[len(command) :]
    assert [value.control for value in sent] == (
        [COMMAND] * (len(command) - 1) + [LAST_COMMAND] + [DATA] * (len(data) - 1) + [LAST_DATA]
    )
    assert joined(command) == encode(STORE)
    assert joined(data) == b"".join(pieces)
    assert all(len(value.data) % 2 == 0 for value in sent[:-1])
    assert all(value.data for value in sent[:-1])


def joined(sent: list[PresentationDataValue]) -> bytes:
    return b"".join(bytes(value.data) for value in sent)


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(8, 60))
def test_what_is_cut_is_assembled_again(data: bytes, maximum: int) -> None:
    assembler = Assembler()
    events = [
        assembler.feed(fragment(value.presentation_context_id, value.control, bytes(value.data)))
        for value in values(1, encode(STORE), [data], maximum)
    ]
    assert CommandReceived(1, STORE, ()) in events
    assert b"".join(bytes(event.data) for event in events if isinstance(event, DataSetFragment)) == data


def test_large_pieces_are_sliced_not_copied() -> None:
    data = bytearray(1_000_000)
    sent = list(values(1, encode(STORE), [memoryview(data)], 16_384))[1:]
    assert [len(value.data) for value in sent] == [16_378] * 61 + [942]
    assert all(isinstance(value.data, memoryview) and value.data.obj is data for value in sent[:-1])


def test_only_the_seam_between_pieces_is_copied() -> None:
    first, second = bytearray(20_001), bytearray(20_001)
    sent = list(values(1, encode(STORE), [first, second], 0))[1:]
    assert [len(value.data) for value in sent] == [20_000, 4_096, 15_906]
    assert sent[0].data.obj is first
    assert sent[2].data.obj is second


def test_many_small_pieces_travel_together() -> None:
    sent = list(values(1, encode(STORE), [b"1234567"] * 4_000, 65_536))
    assert len(sent) < 10


def test_empty_data_set_is_one_empty_last_value() -> None:
    assert list(values(1, encode(STORE), [], 0))[1:] == [PresentationDataValue(1, LAST_DATA, b"")]


def test_message_without_data_set_is_one_value() -> None:
    assert list(values(1, encode(ECHO), None, 0)) == [PresentationDataValue(1, LAST_COMMAND, encode(ECHO))]


def test_pieces_are_taken_as_they_are_needed() -> None:
    taken = 0

    def pieces() -> Iterator[Buffer]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield bytes(10_000)

    sending = values(1, encode(STORE), pieces(), 8_192)
    for _ in range(4):
        next(sending)
    assert taken <= 4


@pytest.mark.parametrize("maximum", range(1, 8))
def test_maximum_length_without_room_is_our_own_error(maximum: int) -> None:
    with pytest.raises(LocalProtocolError):
        next(values(1, encode(ECHO), None, maximum))


def test_full_values_in_a_row_come_together_and_are_the_same_as_one_by_one() -> None:
    data = memoryview(bytes(range(256)) * 8_192)  # 2 MiB
    together = list(runs(1, encode(STORE), [data, data[:99_999]], 16_384))
    assert sum(isinstance(one, Run) for one in together) >= 4
    assert max(len(one.data) for one in together) <= 524_288
    last = together[-1]
    assert isinstance(last, PresentationDataValue)
    assert last.control == LAST_DATA
    joined = b"".join(bytes(one.data) for one in together[1:])
    assert joined == bytes(data) + bytes(data[:99_999])
    singles = list(values(1, encode(STORE), [data, data[:99_999]], 16_384))
    assert [one.control for one in singles[1:-1]] == [0] * (len(singles) - 2)
    assert all(len(one.data) <= 16_378 for one in singles)
