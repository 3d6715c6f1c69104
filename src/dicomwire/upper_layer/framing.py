"""Cuts a stream of bytes into PDUs and P-DATA fragments, at any chunking (PS3.8 9.3.1, 9.3.5).

Knows lengths and nothing of states: `protocol` is asked at each header whether a P-DATA-TF is welcome, and
gets every other PDU whole. P-DATA is passed on as views, never copied or joined; of it at most the bytes of a
cut header are kept. Lengths are checked before anything is kept.
"""

from __future__ import annotations

from typing import Final, Protocol

from dicomwire.upper_layer.codec import HEADER, VALUE, VALUE_TABLE, PduError, value_error, value_header_error
from dicomwire.upper_layer.events import DataFragment, Event
from dicomwire.upper_layer.pdu import HEADER_LENGTH, PDU_NAMES, PduType
from dicomwire.upper_layer.reasons import AbortReason

_NAMES: Final[dict[int, str]] = {int(type): name for type, name in PDU_NAMES.items()}
_P_DATA_TF: Final = int(PduType.P_DATA_TF)
_VALUE_HEADER: Final = VALUE.size  # bytes; as long as the header of a PDU


class Receiver(Protocol):
    """Who is told what was found; each may append to `events`."""

    def p_data(self, length: int, now: float, events: list[Event]) -> bool:
        """The header of a P-DATA-TF; the answer is whether its values are wanted, else they are skipped."""

    def whole_pdu(self, pdu_type: int, body: memoryview, now: float, events: list[Event]) -> bool:
        """Any other PDU; the answer is whether to read on."""

    def invalid_pdu(self, error: PduError, reason: AbortReason, now: float, events: list[Event]) -> None:
        """A PDU that cannot be; what is left of it will be skipped."""


class Framing:
    """Where in the stream we are.

    Attributes:
        offset: bytes read so far; where a PDU is at hand, up to its header at least.
        pdu_start: offset of the PDU at hand.
    """

    __slots__ = (
        "_body",
        "_body_left",
        "_context",
        "_control",
        "_cut",
        "_pdu_left",
        "_pdu_length",
        "_pdu_limit",
        "_skip",
        "_type",
        "_value_left",
        "offset",
        "pdu_start",
    )

    def __init__(self, pdu_limit: int) -> None:
        self.offset = 0
        self.pdu_start = 0
        self._pdu_limit = pdu_limit
        self._pdu_length = 0  # of the P-DATA-TF at hand
        self._pdu_left = 0  # bytes of it behind the value at hand
        self._context = 0  # of the value at hand
        self._control = 0
        self._value_left = 0  # bytes of the value at hand that are still to come
        self._skip = 0  # bytes of a refused PDU that are still to come
        self._type = 0  # of the PDU being collected
        self._body = bytearray()  # what there is of it
        self._body_left = 0  # bytes of it still to come
        self._cut = b""  # what there is of a header

    def drop_p_data(self) -> None:
        """The rest of the P-DATA-TF at hand, if there is one, is not wanted any more."""
        self._skip += self._pdu_left + self._value_left
        self._pdu_left = self._value_left = 0

    def read(self, view: memoryview, receiver: Receiver, now: float, events: list[Event]) -> None:
        """Reads all of `view`, or up to a PDU after which the receiver does not want more."""
        if self._cut:
            # Exactly one header's bytes, so that nothing but the header is read from the copy.
            missing = HEADER_LENGTH - len(self._cut)
            header = self._cut + bytes(view[:missing])
            view = view[missing:]
            self._read(memoryview(header), receiver, now, events)
        if len(view):
            self._read(view, receiver, now, events)

    def _read(self, view: memoryview, receiver: Receiver, now: float, events: list[Event]) -> None:
        # One loop, its branches in the order of how often they are taken, everything of a fragment in line: a
        # call costs a tenth of what a PDU may.
        start, position, end = self.offset, 0, len(view)
        while position < end:
            if self._pdu_left and not self._value_left:
                left = self._pdu_left
                if end - position < _VALUE_HEADER <= left:
                    break
                if left < _VALUE_HEADER:
                    self._value_fault(value_header_error(left), receiver, now, events)
                    continue
                length, context, control = VALUE.unpack_from(view, position)
                if length < 2 or length > left - 4:
                    self._value_fault(value_error(length, left - 4), receiver, now, events)
                    continue
                position += _VALUE_HEADER
                self._pdu_left = left - 4 - length
                stop = position + length - 2
                if stop <= end:
                    events.append(DataFragment(context, control, view[position:stop], True))
                    position = stop
                    continue
                self._value_left = stop - end
                self._context, self._control = context, control
                if position < end:
                    events.append(DataFragment(context, control, view[position:end], False))
                position = end
            elif self._value_left:
                taken = min(self._value_left, end - position)
                self._value_left -= taken
                data = view[position : position + taken]
                events.append(DataFragment(self._context, self._control, data, not self._value_left))
                position += taken
            elif self._skip:
                taken = min(self._skip, end - position)
                self._skip -= taken
                position += taken
            elif self._body_left:
                taken = min(self._body_left, end - position)
                self._body_left -= taken
                self._body += view[position : position + taken]
                position += taken
                self.offset = start + position
                if not self._body_left:
                    whole, self._body = self._body, bytearray()
                    if not receiver.whole_pdu(self._type, memoryview(whole), now, events):
                        return
            else:
                if end - position < HEADER_LENGTH:
                    break
                pdu_type, length = HEADER.unpack_from(view, position)
                self.pdu_start = start + position
                position += HEADER_LENGTH
                self.offset = start + position
                if pdu_type == _P_DATA_TF:
                    if receiver.p_data(length, now, events):
                        self._pdu_length = self._pdu_left = length
                    else:
                        self._skip = length
                elif not self._collectable(pdu_type, length, receiver, now, events):
                    self._skip = length
                elif length > end - position:
                    self._type, self._body_left = pdu_type, length
                else:
                    body = view[position : position + length]
                    position += length
                    self.offset = start + position
                    if not receiver.whole_pdu(pdu_type, body, now, events):
                        return
        self.offset = start + position
        self._cut = bytes(view[position:]) if position < end else b""

    def _value_fault(self, what: str, receiver: Receiver, now: float, events: list[Event]) -> None:
        """A presentation-data-value item whose lengths do not add up."""
        offset = HEADER_LENGTH + self._pdu_length - self._pdu_left
        self.drop_p_data()
        name = _NAMES[_P_DATA_TF]
        error = PduError(name, what, offset, field="Item-length", section=VALUE_TABLE)
        receiver.invalid_pdu(error, AbortReason.INVALID_PDU_PARAMETER_VALUE, now, events)

    def _collectable(
        self, pdu_type: int, length: int, receiver: Receiver, now: float, events: list[Event]
    ) -> bool:
        """Whether the body of a PDU other than P-DATA-TF may be collected, judged by its header."""
        name = _NAMES.get(pdu_type)
        if name is None:
            what = f"PDU-type {pdu_type:02X}H is unknown"
            error = PduError("PDU", what, 0, field="PDU-type", section="PS3.8 9.3.1")
            reason = AbortReason.UNRECOGNIZED_PDU
        elif length > self._pdu_limit:
            what = f"PDU-length says {length} bytes, at most {self._pdu_limit} are taken"
            error = PduError(name, what, 2, field="PDU-length", section="PS3.8 9.3.1")
            reason = AbortReason.INVALID_PDU_PARAMETER_VALUE
        else:
            return True
        receiver.invalid_pdu(error, reason, now, events)
        return False
