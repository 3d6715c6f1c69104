"""P-DATA fragments to DIMSE messages and back (PS3.7 6.3.1; PS3.8 E).

A command set is joined, a data set never: its fragments are handed on as they come. The invariant is that of
PS3.8 E.1: the fragments of a message, all in one presentation context, come before those of the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dicomwire.dimse.codec import decode
from dicomwire.dimse.command import Command
from dicomwire.errors import DecodeError, LocalProtocolError, MessageError
from dicomwire.upper_layer.events import DataFragment, Violation
from dicomwire.upper_layer.pdu import Buffer, PresentationDataValue

COMMAND = 0x01  # message control header, bit 0: the fragment is of a command set (PS3.8 E.2)
LAST = 0x02  # bit 1: it is the last of its set

COMMAND_SET_LIMIT = 65_536  # bytes; an N-GET-RQ with a long list of tags has a few KiB
OWN_MAXIMUM_LENGTH = 262_144  # bytes of one P-DATA variable field, for a peer that announces no maximum (0)
MINIMUM_MAXIMUM_LENGTH = 8  # the least that leaves room for 2 bytes of a message
RUN = 524_288  # bytes of data, at most, that leave as equal values in a row
SHORT = 4_096  # bytes; shorter pieces are joined with what comes next, a PDU costs more than the copy

_VALUE_HEADER_LENGTH = 6  # bytes of a PDV item before its data (PS3.8 9.3.5.1)


class CommandReceived(NamedTuple):
    """A whole command set; `command.data_set` says whether a data set follows.

    Attributes:
        presentation_context_id: of its fragments, accepted or not.
        command: the message.
        violations: what was wrong with it; offsets count from the command set's first byte.
    """

    presentation_context_id: int
    command: Command
    violations: tuple[Violation, ...]


class DataSetFragment(NamedTuple):
    """Some more bytes of the data set of the last command.

    Attributes:
        presentation_context_id: that of the command.
        data: valid during the call only, possibly empty.
        last: the data set ends with these bytes.
    """

    presentation_context_id: int
    data: memoryview
    last: bool


class Assembler:
    """Makes messages of the fragments of one association, in the order in which they arrive."""

    def __init__(self) -> None:
        self._collected = bytearray()
        self._context: int | None = None  # of the message that has begun and not ended
        self._in_data_set = False

    def feed(self, fragment: DataFragment) -> CommandReceived | DataSetFragment | None:
        """Take one fragment.

        Returns: a command when it is whole, a piece of a data set at once, None when more is needed.
        Raises: MessageError, when the fragments are of no message or of several at once, or the command set
            is too long or unreadable. The association has to be aborted (source 0).
        Source: PS3.8 E.1, E.2.
        """
        context, control, data, end = fragment
        if self._context is not None and context != self._context:
            raise MessageError(
                f"fragment in presentation context {context} before the message in presentation context "
                f"{self._context} has ended (PS3.8 E.1)"
            )
        last = end and bool(control & LAST)
        if not control & COMMAND:
            return self._data_set(context, data, last)
        if self._in_data_set:
            raise MessageError(
                f"command fragment in presentation context {context} before the data set's end (PS3.8 E.1)"
            )
        if len(self._collected) + len(data) > COMMAND_SET_LIMIT:
            raise MessageError(f"command set of more than {COMMAND_SET_LIMIT} bytes")
        self._context = context
        if not last:
            self._collected += data
            return None
        return self._command(context, data)

    def _command(self, context: int, data: Buffer) -> CommandReceived:
        if self._collected:
            self._collected += data
            data = bytes(self._collected)
            self._collected.clear()
        try:
            command, violations = decode(data)
        except DecodeError as error:
            raise MessageError(f"command set in presentation context {context}: {error}") from error
        self._in_data_set = command.data_set
        if not command.data_set:
            self._context = None
        return CommandReceived(context, command, violations)

    def _data_set(self, context: int, data: memoryview, last: bool) -> DataSetFragment:
        if not self._in_data_set:
            when = "before the command set has ended" if self._context is not None else "without a command"
            raise MessageError(f"data set fragment in presentation context {context} {when} (PS3.8 E.1)")
        if last:
            self._context = None
            self._in_data_set = False
        return DataSetFragment(context, data, last)


class Run(NamedTuple):
    """Values in a row that differ in nothing but their data, each to be sent in a P-DATA-TF PDU of its own.

    Attributes:
        presentation_context_id, control: of each of them; none is the last of its set.
        data: of all of them, one behind the other.
        length: bytes of each.
    """

    presentation_context_id: int
    control: int
    data: memoryview
    length: int


def runs(
    presentation_context_id: int, command: bytes, data: Iterable[Buffer] | None, maximum_length: int
) -> Iterator[PresentationDataValue | Run]:
    """Cut a message into presentation data values, those that differ in nothing but their data together.

    Args:
        presentation_context_id: of all values.
        command: the command set.
        data: the data set in pieces of any length, None for none. Pieces are sliced, not copied, and have to
            stay as they are until their values are sent; only short or odd ends are joined with what follows.
        maximum_length: of a PDU's variable field, as the peer announced it; 0, unlimited, means an own cap.

    Returns: values of even length, but for the last of an odd data set; the last of each set is marked.
    Raises: LocalProtocolError, when the maximum length is less than 8.
    Source: PS3.8 9.3.1, E.2; D.1.
    """
    if 0 < maximum_length < MINIMUM_MAXIMUM_LENGTH:
        raise LocalProtocolError(f"no message fits a maximum length of {maximum_length} bytes")
    limit = ((maximum_length or OWN_MAXIMUM_LENGTH) - _VALUE_HEADER_LENGTH) & ~1
    if len(command) <= limit:
        yield PresentationDataValue(presentation_context_id, COMMAND | LAST, command)
    else:
        yield from _marked(presentation_context_id, COMMAND, _fragments((command,), limit), limit)
    if data is not None:
        yield from _marked(presentation_context_id, 0, _fragments(data, limit), limit)


def values(
    presentation_context_id: int, command: bytes, data: Iterable[Buffer] | None, maximum_length: int
) -> Iterator[PresentationDataValue]:
    """The same one by one."""
    for one in runs(presentation_context_id, command, data, maximum_length):
        if isinstance(one, Run):
            for at in range(0, len(one.data), one.length):
                piece = one.data[at : at + one.length]
                yield PresentationDataValue(one.presentation_context_id, one.control, piece)
        else:
            yield one


def _marked(
    context: int, control: int, fragments: Iterator[Buffer], limit: int
) -> Iterator[PresentationDataValue | Run]:
    """The fragments as values, the last one marked; one empty value where there are none."""
    held: Buffer = next(fragments, b"")
    for fragment in fragments:
        yield _several(context, control, held, limit)
        held = fragment
    if len(held) > limit:
        yield _several(context, control, held[:-limit], limit)
        held = held[-limit:]
    yield PresentationDataValue(context, control | LAST, held)


def _several(context: int, control: int, data: Buffer, limit: int) -> PresentationDataValue | Run:
    if len(data) > limit:
        return Run(context, control, memoryview(data), limit)
    return PresentationDataValue(context, control, data)


def _fragments(pieces: Iterable[Buffer], limit: int) -> Iterator[Buffer]:
    """The pieces again, in fragments of at most `limit` bytes, or of so much several times; all but the
    last even.
    """
    short = min(SHORT, limit)
    most = max(RUN // limit, 1) * limit
    seam = bytearray()  # the end of a piece: what is too short to be sent alone, or its odd byte
    for piece in pieces:
        view = memoryview(piece).cast("B")
        if seam:
            head = view[: short - len(seam)]
            seam += head
            if len(seam) < short:
                continue
            yield seam
            seam = bytearray()
            view = view[len(head) :]
        whole = len(view) // limit * limit
        for position in range(0, whole, most):
            yield view[position : min(position + most, whole)]
        rest = view[whole:]
        even = len(rest) & ~1 if len(rest) > short else 0
        if even:
            yield rest[:even]
        seam += rest[even:]
    if seam:
        yield seam
