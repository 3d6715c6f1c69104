"""One direction of a connection, read passively: PDUs, commands, heads of data sets (PS3.8 9.3, E).

It never answers and never raises: what is wrong is reported and reading goes on at the next thing that can
only be a PDU. Of a data set the head is kept, the rest is counted; `receive` says how many bytes of it need
not even be shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from dicomwire.diagnose.finding import Side
from dicomwire.dimse.command import Command, CStoreRq, UnrecognizedRq
from dicomwire.dimse.message import Assembler, CommandReceived
from dicomwire.errors import DecodeError, MessageError
from dicomwire.upper_layer.codec import HEADER, VALUE, decode, value_error
from dicomwire.upper_layer.events import DataFragment, Violation
from dicomwire.upper_layer.pdu import HEADER_LENGTH, PDU_NAMES, Pdu, PduType

LONGEST_PDU: Final = 1 << 20  # bytes of a PDU other than P-DATA-TF; 128 contexts take up to 200 KiB
STORE_HEAD: Final = 16_384  # bytes kept of an instance: what is before the pixels, of nearly all of them
HEAD: Final = 65_536  # bytes kept of identifiers and attribute lists, which are shorter
NOTHING_MORE: Final = 1 << 62  # bytes to skip: the rest of the connection
HOPELESS: Final = 1 << 22  # bytes without a PDU among them, after which a stream is taken to have none

_P_DATA_TF: Final = int(PduType.P_DATA_TF)
_VALUE_HEADER: Final = VALUE.size
_FIXED_LENGTH: Final = frozenset(
    {PduType.A_ASSOCIATE_RJ, PduType.A_RELEASE_RQ, PduType.A_RELEASE_RP, PduType.A_ABORT}
)
_SHORTEST_ASSOCIATE: Final = 68


class Place(NamedTuple):
    """Where something was seen: seconds since 1970, frame number, bytes of the sender's stream."""

    time: float
    frame: int
    start: int
    end: int


@dataclass(slots=True)
class DataSetHead:
    """The beginning of a data set, and how long it was.

    Attributes:
        presentation_context_id: of its fragments.
        head: its first bytes.
        limit: how many are kept.
        length: bytes of the whole.
        fragments: values that carried it.
        began: when and where its first byte came.
    """

    presentation_context_id: int
    limit: int
    began: Place
    head: bytearray = field(default_factory=bytearray)
    length: int = 0
    fragments: int = 0


class Listener(Protocol):
    """Who is told what a stream says."""

    def pdu(self, side: Side, pdu: Pdu, violations: list[DecodeError], place: Place) -> None: ...

    def p_data(self, side: Side, length: int, place: Place) -> None: ...

    def value(self, side: Side, presentation_context_id: int, place: Place) -> None: ...

    def command(
        self, side: Side, context: int, command: Command, violations: tuple[Violation, ...], place: Place
    ) -> None: ...

    def data_set(self, side: Side, data_set: DataSetHead, place: Place) -> None: ...

    def fault(self, side: Side, code: str, message: str, section: str, place: Place) -> None: ...


class _Stage(IntEnum):
    HEADER = 0
    BODY = 1
    VALUE = 2
    DATA = 3
    LOST = 4
    DEAD = 5


class PduStream:
    """The PDUs that one side sends.

    Attributes:
        side: who sends.
        position: bytes of the stream up to which it was read.
        in_step: every byte so far belongs to a PDU that could be read.
        found: PDUs seen.
    """

    def __init__(self, side: Side, listener: Listener, *, late: bool = False, position: int = 0) -> None:
        self.side = side
        self.position = position
        self.in_step = not late
        self.found = 0
        self.time = 0.0
        self.frame = 0
        self._listener = listener
        self._stage = _Stage.LOST if late else _Stage.HEADER
        self._buffer = bytearray()
        self._need = HEADER_LENGTH
        self._type = 0
        self._pdu_start = position
        self._pdu_left = 0  # bytes of the P-DATA-TF at hand behind the value at hand
        self._value_left = 0  # bytes of the value at hand still to come
        self._context = 0
        self._control = 0
        self._lost = 0  # bytes that belong to nothing
        self._assembler = Assembler()
        self._await_command = late  # what comes first may be the rest of a message
        self._data_set: DataSetHead | None = None
        self._limit = HEAD

    @property
    def within(self) -> str:
        """What the stream is in the middle of; "" between PDUs."""
        if self._stage in (_Stage.BODY, _Stage.HEADER) and self._buffer:
            name = "PDU header" if self._stage is _Stage.HEADER else PDU_NAMES[PduType(self._type)]
            return f"{name} ({len(self._buffer)} of {self._need} bytes)"
        if self._stage is _Stage.DATA:
            return f"P-DATA-TF ({self._value_left + self._pdu_left} bytes are missing)"
        return "P-DATA-TF" if self._stage is _Stage.VALUE else ""

    @property
    def message_open(self) -> bool:
        """A message has begun whose end has not come."""
        return self._data_set is not None

    def _place(self, start: int | None = None) -> Place:
        return Place(self.time, self.frame, self._pdu_start if start is None else start, self.position)

    def receive(self, view: memoryview, offset: int, time: float, frame: int) -> int:
        """Reads bytes.

        Args:
            view: the bytes; kept is only what is copied.
            offset: of their first byte in the stream; it is more than `position` by what was skipped.
            time, frame: of the packet that brought them.

        Returns: how many of the bytes that follow need not be shown.
        """
        self.time, self.frame = time, frame
        if offset > self.position:
            self._skipped(offset - self.position)
        index, end = 0, len(view)
        if self._stage is _Stage.LOST:
            index = self._seek(view)
        while index < end:
            if self._stage is _Stage.DATA:
                index = self._data(view, index, end)
            elif self._stage >= _Stage.LOST:
                self._lost += end - index
                self.position += end - index
                break
            else:
                piece = view[index : index + self._need - len(self._buffer)]
                if not self._buffer and self._stage is _Stage.HEADER:
                    self._pdu_start = self.position
                self._buffer += piece
                index += len(piece)
                self.position += len(piece)
                if len(self._buffer) == self._need:
                    whole = bytes(self._buffer)
                    self._buffer.clear()
                    self._whole(whole)
        return self._unwanted()

    def missing(self, offset: int, count: int, time: float, frame: int) -> bool:
        """Bytes that nobody will ever show, not all of them skippable.

        Returns: they were of one value of a data set, of which only the length matters. Else reading is out
            of step until the next PDU.
        """
        self.time, self.frame = time, frame
        self._skipped(offset - self.position)
        if self._stage is _Stage.DATA and self._data_set is not None and count <= self._value_left:
            self._data_set.limit = len(self._data_set.head)  # what follows does not join it
            self._skipped(count)
            if not self._value_left:
                self._fragment(memoryview(b""))
            return True
        self.position = offset + count
        self.lose()
        return False

    def lose(self) -> None:
        """Look for the next PDU."""
        self.in_step = False
        self._stage = _Stage.LOST
        self._buffer.clear()
        self._pdu_left = self._value_left = self._lost = 0
        self._assembler = Assembler()
        self._await_command = True
        self._data_set = None

    def ignore(self) -> None:
        """Nothing that follows is of interest."""
        self._stage = _Stage.DEAD

    def _unwanted(self) -> int:
        if self._stage is _Stage.DATA:
            full = self._data_set is None or len(self._data_set.head) >= self._data_set.limit
            # The last byte is wanted: it tells when the value was complete.
            return self._value_left - 1 if full and not self._control & 1 else 0
        if self._stage is _Stage.LOST and self._lost > HOPELESS:
            self._stage = _Stage.DEAD
        return NOTHING_MORE if self._stage is _Stage.DEAD else 0

    def _skipped(self, count: int) -> None:
        self.position += count
        if self._stage is _Stage.DATA:
            self._value_left -= count
            if self._data_set is not None:
                self._data_set.length += count

    def _seek(self, view: memoryview) -> int:
        """Index of the first byte that can only begin a PDU, or the length of the view."""
        self._pdu_start = self.position
        index = next_pdu(view)
        self.position += index
        self._lost += index
        if index < len(view):
            self._stage, self._need = _Stage.HEADER, HEADER_LENGTH
        return index

    def _whole(self, data: bytes) -> None:
        if self._stage is _Stage.HEADER:
            self._header(data)
        elif self._stage is _Stage.BODY:
            self._stage, self._need = _Stage.HEADER, HEADER_LENGTH
            self._body(data)
        else:
            self._value(data)

    def _header(self, data: bytes) -> None:
        pdu_type, length = HEADER.unpack(data)
        if pdu_type == _P_DATA_TF:
            self.found += 1
            self._listener.p_data(self.side, length, self._place())
            self._pdu_left = length
            self._next_value()
            return
        if not 1 <= pdu_type <= 7:
            what = f"PDU-type {pdu_type:02X}H at byte {self._pdu_start} is none of 01H to 07H"
            self._listener.fault(self.side, "pdu-unknown-type", what, "PS3.8 9.3.1", self._place())
            self.lose()
            return
        if length > LONGEST_PDU:
            name = PDU_NAMES[PduType(pdu_type)]
            what = f"{name} at byte {self._pdu_start} says {length} bytes, at most {LONGEST_PDU} make sense"
            self._listener.fault(self.side, "pdu-malformed", what, "PS3.8 9.3.1", self._place())
            self.lose()
            return
        self._type = pdu_type
        self._stage, self._need = _Stage.BODY, length
        if not length:
            self._stage, self._need = _Stage.HEADER, HEADER_LENGTH
            self._body(b"")

    def _body(self, data: bytes) -> None:
        violations: list[DecodeError] = []
        try:
            pdu = decode(self._type, data, violations)
        except DecodeError as error:
            what = f"{error}; the PDU begins at byte {self._pdu_start}"
            self._listener.fault(self.side, "pdu-malformed", what, error.section, self._place())
            return
        self.found += 1
        self._listener.pdu(self.side, pdu, violations, self._place())

    def _next_value(self) -> None:
        if self._pdu_left:
            self._stage, self._need = _Stage.VALUE, min(self._pdu_left, _VALUE_HEADER)
        else:
            self._stage, self._need = _Stage.HEADER, HEADER_LENGTH

    def _value(self, data: bytes) -> None:
        length = int.from_bytes(data[:4], "big")
        remain = self._pdu_left - 4
        if len(data) < _VALUE_HEADER or not 2 <= length <= remain:
            what = f"P-DATA-TF at byte {self._pdu_start}: "
            if len(data) < _VALUE_HEADER:
                what += f"{len(data)} bytes remain, the header of a presentation-data-value item takes 6"
            else:
                what += value_error(length, remain)
            self._listener.fault(self.side, "pdu-malformed", what, "PS3.8 Table 9-23", self._place())
            self.lose()
            return
        _, self._context, self._control = VALUE.unpack(data)
        self._listener.value(self.side, self._context, self._place(self.position - _VALUE_HEADER))
        self._pdu_left = remain - length
        self._value_left = length - 2
        self._stage = _Stage.DATA
        if not self._value_left:
            self._fragment(memoryview(b""))

    def _data(self, view: memoryview, index: int, end: int) -> int:
        taken = min(self._value_left, end - index)
        self._value_left -= taken
        self.position += taken
        self._fragment(view[index : index + taken])
        return index + taken

    def _fragment(self, data: memoryview) -> None:
        """Bytes of the value at hand, the last of them where nothing is left of it."""
        end = not self._value_left
        if end and self._stage is _Stage.DATA:
            self._next_value()
        if self._await_command:
            if not self._control & 1:
                return
            self._await_command = False
        try:
            message = self._assembler.feed(DataFragment(self._context, self._control, data, end))
        except MessageError as error:
            self._no_message(error)
            return
        if message is None:
            return
        if isinstance(message, CommandReceived):
            context, command, violations = message
            if isinstance(command, UnrecognizedRq):
                what = f"Command Field (0000,0100) {command.unrecognized_field:04X}H is no message"
                place = self._place()
                self._listener.fault(self.side, "command-field-missing", what, "PS3.7 E.1", place)
            self._listener.command(self.side, context, command, violations, self._place())
            if command.data_set:
                limit = STORE_HEAD if isinstance(command, CStoreRq) else HEAD
                self._data_set = DataSetHead(context, limit, self._place())
            return
        data_set = self._data_set
        if data_set is not None:
            data_set.head += data[: data_set.limit - len(data_set.head)]
            data_set.length += len(data)
            data_set.fragments += end
            if message.last:
                self._data_set = None
                self._listener.data_set(self.side, data_set, self._place())

    def _no_message(self, error: MessageError) -> None:
        cause = error.__cause__
        lacking = isinstance(cause, DecodeError) and cause.section == "PS3.7 E.1"
        code = "command-field-missing" if lacking else "command-malformed"
        self._listener.fault(self.side, code, str(error), "PS3.7 6.3.1", self._place())
        self._assembler = Assembler()
        self._await_command = True
        self._data_set = None


def next_pdu(view: memoryview) -> int:
    """Index of the first byte of a segment that can only begin a PDU; else the segment's length."""
    return 0 if _is_pdu(view) else _find_p_data(view)


def _is_pdu(view: memoryview) -> bool:
    """Whether a segment that begins like this begins with a PDU."""
    if len(view) < HEADER_LENGTH or view[1] or not 1 <= view[0] <= 7:
        return False
    pdu_type, length = HEADER.unpack_from(view)
    if pdu_type in _FIXED_LENGTH:
        return bool(length == 4)
    if pdu_type == _P_DATA_TF:
        return _is_p_data(view, 0) if len(view) >= HEADER_LENGTH + _VALUE_HEADER else length >= _VALUE_HEADER
    return bool(_SHORTEST_ASSOCIATE <= length <= LONGEST_PDU)


def _is_p_data(view: memoryview, index: int) -> bool:
    """A P-DATA-TF whose first value, of an odd context, fits in it."""
    length = int.from_bytes(view[index + 2 : index + 6], "big")
    value, context, control = VALUE.unpack_from(view, index + HEADER_LENGTH)
    return bool(view[index + 1] == 0 and 2 <= value <= length - 4 and context & 1 and control < 4)


def _find_p_data(view: memoryview) -> int:
    """Index of a P-DATA-TF with exactly one value, which no other bytes look like; else the view's length."""
    data = bytes(view)
    last = len(data) - HEADER_LENGTH - _VALUE_HEADER
    index = data.find(b"\x04\0")
    while 0 <= index <= last:
        length = int.from_bytes(data[index + 2 : index + 6], "big")
        value = int.from_bytes(data[index + 6 : index + 10], "big")
        if length == value + 4 and value >= 2 and data[index + 10] & 1 and data[index + 11] < 4:
            return index
        index = data.find(b"\x04\0", index + 1)
    return len(data)


def is_dicom(first: bytes) -> bool:
    """Whether a connection's first bytes from one side begin a PDU that may come first there."""
    if len(first) < HEADER_LENGTH or not 1 <= first[0] <= 7:
        return False
    pdu_type, length = HEADER.unpack_from(first)
    if pdu_type in _FIXED_LENGTH:
        return bool(length == 4)
    if pdu_type == _P_DATA_TF:
        return bool(length < 1 << 28)
    return bool(length <= LONGEST_PDU)
