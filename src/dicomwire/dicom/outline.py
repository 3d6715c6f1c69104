"""What data sets of one origin have in common, so that the scanner passes it by comparison (PS3.5 7).

The instances of a device are written alike: the same elements in the same order, most of them with the same
value. An outline is that sequence: runs of bytes that all of them hold, and between these the elements whose
values differ. Along it a data set is walked a run at a time, up to where it differs; from there on the
scanner goes element by element. Nothing is assumed: every byte that is passed was compared, or is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from struct import Struct
from struct import error as StructError
from typing import Any, Final, NamedTuple

from dicomwire.dicom.elements import Kind, elements
from dicomwire.dicom.encoding import Buffer, Encoding
from dicomwire.dicom.indexed import INDEXED
from dicomwire.errors import DataSetError

REACH: Final = 64 << 10  # bytes from the start of a data set that an outline covers at most
_OUTLINES: Final = 16  # kept, the one used last first
_ALIKE: Final = 0.9  # part of their pieces that data sets of one outline share
_LONGEST_WAIT: Final = 256  # data sets that match no outline, between two of which one is made

_Unpack = Callable[[Buffer, int], tuple[Any, ...]]
_SHORT: Final = {"<": Struct("<H"), ">": Struct(">H")}


class Reached(NamedTuple):
    """Up to where a data set was passed.

    Attributes:
        position: byte offset behind the last element passed, of the data set itself.
        group, element: its tag; -1 when none was.
        whole: an outline was followed to its end.
    """

    position: int
    group: int
    element: int
    whole: bool


NOTHING: Final = Reached(0, -1, -1, False)


class _Piece(NamedTuple):
    """Bytes of a data set in a row: a header, and the value that follows.

    Attributes:
        header: from the end of the piece before; delimitation items are part of what follows them.
        value: None where data sets of the outline differ.
        length: bytes of the value.
        tag: of the element, or of the sequence that begins or ends here.
        level: sequences around it.
        closes: an element of the data set itself ends here.
        sizes: unpacks the length that ends the header; None where there is none.
    """

    header: bytes
    value: bytes | None
    length: int
    tag: int
    level: int
    closes: bool
    sizes: Struct | None


class _Step(NamedTuple):
    """A run of bytes, and the value behind it that differs.

    Attributes:
        found: values of INDEXED elements within the run.
        taken: INDEXED sequences that end in the run and hold what differs: tag, first byte of the value and
            byte behind it, counted from the start of the run.
        unpack: reads the length of the value; None where it is `size`.
        size: bytes of the length field, or of the value.
        tag: the value's, when it is INDEXED, else 0.
        last: tag of the data set's own element that ends here; 0 within a sequence.
    """

    run: bytes
    run_length: int
    found: dict[int, bytes]
    taken: tuple[tuple[int, int, int], ...]
    unpack: _Unpack | None
    size: int
    tag: int
    last: int


@dataclass(frozen=True, slots=True)
class _Outline:
    encoding: Encoding
    pieces: tuple[_Piece, ...]
    steps: tuple[_Step, ...]


class Outlines:
    """The outlines of the data sets that come; learned from them."""

    def __init__(self) -> None:
        self._outlines: tuple[_Outline, ...] = ()
        self._wait = 0  # data sets without outline to let pass before one is made
        self._missed = 0

    def advance(self, data: bytes, encoding: Encoding, values: dict[int, bytes]) -> Reached:
        """Pass what is known of a data set.

        data: its first REACH bytes.
        values: takes the values of INDEXED elements on the way; those behind `position` are correct, too.
        """
        best = NOTHING
        for outline in self._outlines:
            if outline.encoding is not encoding:
                continue
            reached = _follow(outline.steps, data, values)
            if reached.whole:
                if outline is not self._outlines[0]:
                    self._outlines = (outline, *(each for each in self._outlines if each is not outline))
                self._wait = max(0, self._wait - 1)
                return reached
            if reached.position > best.position:
                best = reached
        return best

    def learn(self, data: bytes, encoding: Encoding, values: dict[int, bytes]) -> None:
        """Take a data set into account that no outline covers; now and then, since that takes its time.

        data: its first REACH bytes. values: of its INDEXED elements. It must be whole and without findings.
        """
        self._missed += 1
        if self._missed <= self._wait:
            return
        self._missed, self._wait = 0, min(max(1, 2 * self._wait), _LONGEST_WAIT)
        pieces = _pieces(data, encoding)
        if not pieces:
            return
        for outline in self._outlines:
            common = _common(outline.pieces, pieces) if outline.encoding is encoding else ()
            if len(common) >= _ALIKE * max(len(outline.pieces), len(pieces)):
                others = tuple(each for each in self._outlines if each is not outline)
                self._outlines = (_Outline(encoding, common, tuple(_steps(common, values))), *others)
                return
        made = _Outline(encoding, pieces, tuple(_steps(pieces, values)))
        self._outlines = (made, *self._outlines[: _OUTLINES - 1])


def _follow(steps: Sequence[_Step], data: bytes, values: dict[int, bytes]) -> Reached:
    position, end = 0, len(data)
    passed = last = 0
    whole = False
    try:
        for run, run_length, found, taken, unpack, size, tag, closing in steps:
            if not data.startswith(run, position):
                break
            values.update(found)
            for indexed, start, stop in taken:
                values[indexed] = bytes(data[position + start : position + stop])
            position += run_length
            if unpack is not None:
                (length,) = unpack(data, position)
                position += size
                if length & 1 or length > end - position:  # UNDEFINED, too
                    break
                if tag:
                    values[tag] = bytes(data[position : position + length])
                position += length
            else:
                position += size
            if closing:
                passed, last = position, closing
        else:
            whole = True
    except StructError:  # cut in a length
        pass
    return Reached(passed, last >> 16, last & 0xFFFF, whole) if passed else NOTHING


def _pieces(data: bytes, encoding: Encoding) -> tuple[_Piece, ...]:
    """A data set up to its pixel data, or to where an outline cannot follow."""
    pieces: list[_Piece] = []
    whole = position = level = 0
    try:
        for kind, tag, vr, start, end, written in elements(data, encoding):
            if end > REACH or tag >= 0x7FE00000 or kind is Kind.ENCAPSULATED or written is not encoding:
                break
            level -= kind is Kind.SEQUENCE_END
            closes = level == 0 and kind in (Kind.VALUE, Kind.SEQUENCE_END)
            header, value = bytes(data[position:start]), bytes(data[start:end])
            sizes = _sizes(encoding, vr) if kind is Kind.VALUE else None
            pieces.append(_Piece(header, value, len(value), tag, level, closes, sizes))
            level += kind is Kind.SEQUENCE
            position = end
            if closes:
                whole = len(pieces)
    except DataSetError:
        pass
    return tuple(pieces[:whole])


def _sizes(encoding: Encoding, vr: str) -> Struct:
    short = encoding.explicit and vr in encoding.short.values()
    return _SHORT[encoding.order] if short else encoding.length


def _common(known: Sequence[_Piece], pieces: Sequence[_Piece]) -> tuple[_Piece, ...]:
    """The pieces that two data sets share, from the start on, up to the end of one of their elements."""
    common = [each for each in takewhile(bool, map(_shared, known, pieces)) if each is not None]
    while common and not common[-1].closes:
        del common[-1]
    return tuple(common)


def _shared(ours: _Piece, theirs: _Piece) -> _Piece | None:
    """One piece for both: the same bytes, or an element whose values differ; within items not in length."""
    if ours.header == theirs.header and ours.value == theirs.value:
        return ours
    if ours.sizes is None or ours.sizes is not theirs.sizes:
        return None
    compared = None if ours.level else -ours.sizes.size
    return ours._replace(value=None) if ours.header[:compared] == theirs.header[:compared] else None


def _steps(pieces: Sequence[_Piece], values: dict[int, bytes]) -> Iterator[_Step]:
    """values: of the INDEXED elements of a data set that has these pieces."""
    run, found, taken, last = bytearray(), dict[int, bytes](), list[tuple[int, int, int]](), 0
    inside, differs = 0, False  # bytes of the value of the data set's own sequence, so far
    for piece in pieces:
        indexed = piece.tag if piece.closes and piece.tag in INDEXED else 0
        last = piece.tag if piece.closes else 0
        if piece.value is not None:
            if indexed and differs and piece.sizes is None:
                taken.append((indexed, len(run) - inside, len(run)))
            elif indexed in values:
                found[indexed] = values[indexed]
            run += piece.header + piece.value
        else:
            unpack, size = None, piece.length  # of this length always, as the items around it are
            if piece.sizes is not None and piece.closes:
                unpack, size = piece.sizes.unpack_from, piece.sizes.size
            run += piece.header[:-size] if unpack is not None else piece.header
            yield _Step(bytes(run), len(run), found, tuple(taken), unpack, size, indexed, last)
        inside, differs = (inside + len(piece.header) + piece.length, differs) if piece.level else (0, False)
        differs |= piece.level > 0 and piece.value is None
        if piece.value is None:
            run, found, taken = bytearray(), {}, []
    if pieces and pieces[-1].value is not None:
        yield _Step(bytes(run), len(run), found, tuple(taken), None, 0, 0, last)
