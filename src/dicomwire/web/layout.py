"""Where the frames of stored instances lie, remembered for those asked for lately (PS3.5 8.2, A.4).

A viewer asks for the frames of an instance one by one: the data set is scanned for the first of them only. A
record of the archive never changes, so that what is remembered under its id stays true.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from dicomwire.archive.archive import Archive, Stored
from dicomwire.dicom.codecs import VIDEO
from dicomwire.dicom.deflate import inflate
from dicomwire.dicom.encoding import Buffer, encoding_of
from dicomwire.dicom.frames import (
    FrameError,
    FrameSpan,
    Image,
    encapsulated_spans,
    frame_spans,
    image_of,
    native_span,
)
from dicomwire.dicom.pixel_description import PIXEL_DATA
from dicomwire.dicom.scan import PixelData, scan
from dicomwire.errors import DataSetError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.web.problems import Problem

MOST_FRAMES: Final = 1_000_000  # of one instance in one answer; about 200 MB
_REMEMBERED_INSTANCES: Final = 256
_REMEMBERED_SPANS: Final = 100_000  # of encapsulated frames, in all; about 20 MB


@dataclass(frozen=True, slots=True)
class NativeLayout:
    """Native frames follow from the image's size."""

    image: Image
    pixel_data: PixelData
    little_endian: bool

    @property
    def number_of_frames(self) -> int:
        return self.image.number_of_frames

    @property
    def weight(self) -> int:
        return 1

    def span(self, number: int) -> FrameSpan:
        """Raises: FrameError, when the pixel data ends before the frame does."""
        return native_span(self.image, self.pixel_data, number, little_endian=self.little_endian)


@dataclass(frozen=True, slots=True)
class EncapsulatedLayout:
    """Each encapsulated frame has its own place."""

    spans: Sequence[FrameSpan]

    @property
    def number_of_frames(self) -> int:
        return len(self.spans)

    @property
    def weight(self) -> int:
        return len(self.spans)

    def span(self, number: int) -> FrameSpan:
        return self.spans[number - 1]


Layout: TypeAlias = NativeLayout | EncapsulatedLayout


class Layouts:
    """The layouts of an archive's instances."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._remembered: OrderedDict[int, Layout] = OrderedDict()
        self._weight = 0

    def spans(self, stored: Stored, numbers: Sequence[int] | None) -> list[FrameSpan]:
        """Span of each of these frames, of all of them for None; offsets count in the inflated data set.

        Raises: Problem 404, when one does not exist or cannot be found; 413, for too many at once.
        """
        try:
            layout = self._layout(stored)
            count = layout.number_of_frames
            if numbers is None:
                layout.span(count)  # there is pixel data for as many as are told of
                if count > MOST_FRAMES:
                    raise Problem(413, f"there are {count} frames; {MOST_FRAMES} at most are given together")
                numbers = range(1, count + 1)
            elif (highest := max(numbers, default=0)) > count:
                raise Problem(404, f"there is no frame {highest}; the instance has {count}")
            return [layout.span(number) for number in numbers]
        except (FrameError, DataSetError) as error:
            raise Problem(404, f"the frames cannot be found: {error}") from None

    def _layout(self, stored: Stored) -> Layout:
        layout = self._remembered.get(stored.record_id)
        if layout is not None:
            self._remembered.move_to_end(stored.record_id)
            return layout
        layout = _catalogued(stored)
        if layout is not None:
            return layout
        with self._archive.open_stored(stored) as opened:
            layout = _found(opened.view[stored.data_set_offset :], stored.transfer_syntax_uid)
        self._remembered[stored.record_id] = layout
        self._weight += layout.weight
        while len(self._remembered) > _REMEMBERED_INSTANCES or (
            self._weight > _REMEMBERED_SPANS and len(self._remembered) > 1
        ):
            _, oldest = self._remembered.popitem(last=False)
            self._weight -= oldest.weight
        return layout


def _catalogued(stored: Stored) -> NativeLayout | None:
    """What the catalogue alone tells: native frames in little endian, of one sample a pixel.

    Of more samples it would have to know the photometric interpretation.
    """
    encoding = encoding_of(stored.transfer_syntax_uid)
    offset, length = stored.pixel_data_offset, stored.pixel_data_length
    rows, columns, bits = stored.rows, stored.columns, stored.bits_allocated
    if offset is None or length is None or encoding.deflated or not encoding.little_endian:
        return None
    if not rows or not columns or not bits or (stored.samples_per_pixel or 1) != 1:
        return None
    image = Image(rows, columns, 1, bits, stored.number_of_frames)
    return NativeLayout(image, PixelData(PIXEL_DATA, "", offset, length, offset + length), little_endian=True)


def inflated(data_set: memoryview, transfer_syntax_uid: str) -> Buffer:
    """The data set as it is, or inflated."""
    return inflate(data_set) if encoding_of(transfer_syntax_uid).deflated else data_set


def _found(data_set: memoryview, syntax: str) -> Layout:
    encoding = encoding_of(syntax)
    data = inflated(data_set, syntax)
    if encoding.deflated:
        syntax = EXPLICIT_VR_LITTLE_ENDIAN
    scanned = scan(data, syntax)
    pixel_data = scanned.pixel_data
    if pixel_data is None or pixel_data.length is None:
        if pixel_data is not None and syntax in VIDEO:  # all frames are one stream (PS3.5 8.2.5-8.2.8)
            return EncapsulatedLayout(encapsulated_spans(data, pixel_data, 1))
        return EncapsulatedLayout(frame_spans(data, syntax, scanned))
    return NativeLayout(image_of(scanned), pixel_data, encoding.little_endian)
