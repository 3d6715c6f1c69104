"""Takes a stream apart into PDUs on their way through the proxy, and changes them (PS3.8 9.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from dicomwire.doctor.script import Action, Fault
from dicomwire.upper_layer.pdu import HEADER_LENGTH, PDU_NAMES, PduType

LONGEST_HELD: Final = 1 << 20  # bytes of a PDU that is put together to be changed
_MAXIMUM_LENGTH_ITEM: Final = bytes((0x51, 0, 0, 4))


class Piece(NamedTuple):
    """Some bytes of one PDU.

    Attributes:
        name: of the PDU; "" for what is no DICOM.
        data: bytes.
        offset: of the first of them in the PDU.
        first: the PDU begins here.
    """

    name: str
    data: bytes
    offset: int
    first: bool


@dataclass(slots=True)
class Pdus:
    """One side's stream. P-DATA passes in the pieces in which it comes, other PDUs come whole."""

    _held: bytes = b""
    _left: int = 0
    _offset: int = 0
    _name: str = ""
    _foreign: bool = False

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that these bytes complete; what is no DICOM passes as it is."""
        self._held += data
        while self._held:
            if self._foreign:
                yield Piece("", self._held, 0, False)
                self._held = b""
            elif self._left:
                piece, self._held = self._held[: self._left], self._held[self._left :]
                yield Piece(self._name, piece, self._offset, False)
                self._left -= len(piece)
                self._offset += len(piece)
            elif len(self._held) < HEADER_LENGTH and 1 <= self._held[0] <= 7:
                return
            else:
                piece = self._begin()
                if not piece:
                    return
                if not self._foreign:
                    yield Piece(self._name, piece, 0, True)

    def rest(self) -> bytes:
        """What was held back of a PDU that never became whole."""
        held, self._held = self._held, b""
        return held

    def _begin(self) -> bytes:
        """The head of the next PDU, or all of it; b"" where more bytes are needed."""
        kind, length = self._held[0], HEADER_LENGTH + int.from_bytes(self._held[2:HEADER_LENGTH], "big")
        if not 1 <= kind <= 7:
            self._foreign = True
            return self._held
        self._name = PDU_NAMES[PduType(kind)]
        streamed = kind == PduType.P_DATA_TF or length > LONGEST_HELD
        if not streamed and len(self._held) < length:
            return b""
        piece, self._held = self._held[:length], self._held[length:]
        self._left, self._offset = length - len(piece), len(piece)
        return piece


def changed(pdu: bytes, fault: Fault) -> bytes:
    """A whole PDU as a fault leaves it."""
    if fault.action is Action.REWRITE and len(pdu) == 10:
        numbers = (fault.result, fault.source, fault.reason) if pdu[0] == PduType.A_ASSOCIATE_RJ else None
        return pdu[:7] + bytes(numbers or (0, fault.source, fault.reason))
    if fault.action is Action.MAXIMUM_LENGTH:
        place = pdu.rfind(_MAXIMUM_LENGTH_ITEM)
        if place >= 0:
            return pdu[: place + 4] + fault.maximum_length.to_bytes(4, "big") + pdu[place + 8 :]
    return pdu


def corrupted(piece: Piece, fault: Fault) -> bytes:
    """A piece with the fault's byte changed, where that byte is in it."""
    place = fault.offset - piece.offset
    if not 0 <= place < len(piece.data):
        return piece.data
    return piece.data[:place] + bytes((piece.data[place] ^ fault.value,)) + piece.data[place + 1 :]
