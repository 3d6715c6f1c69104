"""The pixel data of one data set, frame by frame, decoded and encoded (PS3.5 8, A.4; PS3.3 C.7.6.3).

One frame at a time is held, whatever the size of the whole.
"""

from __future__ import annotations

from typing import Final

import imagecodecs

from dicomwire.dicom.arrays import Array, to_native
from dicomwire.dicom.codecs import CODECS, RECOMPRESSED, Codec
from dicomwire.dicom.decode import decode_frame, decode_reduced
from dicomwire.dicom.encode import Encoded, encode_lossless, encode_lossy
from dicomwire.dicom.encoding import Buffer, encoding_of
from dicomwire.dicom.frames import FrameError, FrameSpan, frame_spans, native_span, read_frame
from dicomwire.dicom.pixel_description import describe
from dicomwire.dicom.scan import Scan, scan
from dicomwire.dicom.scratch import IN_MEMORY, Scratch
from dicomwire.errors import TranscodingError
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

_KEPT: Final = 16 << 20  # bytes of a decoded frame that is kept for the next request
_JPEG: Final = b"\xff\xd8"


class Pixels:
    """Frames of a data set.

    Attributes:
        scan: of the data set.
        description: its Image Pixel module.
        encapsulated: whether the pixel data is, whatever the transfer syntax says.
        scratch: where large frames lie on their way.
    """

    def __init__(
        self,
        data: Buffer,
        transfer_syntax_uid: str,
        found: Scan | None = None,
        *,
        scratch: Scratch = IN_MEMORY,
    ) -> None:
        """data: the data set, inflated. scratch: for large frames. Raises: FrameError, DataSetError."""
        self.scan = found or scan(data, transfer_syntax_uid)
        self.description = describe(self.scan)
        pixel_data = self.scan.pixel_data
        assert pixel_data is not None  # `describe` has seen to it
        self.scratch = scratch
        self._data = data
        self._pixel_data = pixel_data
        self.encapsulated = pixel_data.length is None
        self._syntax = transfer_syntax_uid if self.encapsulated else EXPLICIT_VR_LITTLE_ENDIAN
        if self.encapsulated and CODECS.get(transfer_syntax_uid) is None:
            raise TranscodingError(f"{transfer_syntax_uid} cannot be decoded")
        self._little_endian = encoding_of(transfer_syntax_uid).little_endian
        self._decoded: tuple[int, tuple[Array, str]] | None = None  # the last one; windows change more often
        self._spans: list[FrameSpan] = []
        if self.encapsulated:
            self._spans = frame_spans(data, transfer_syntax_uid, self.scan)

    @property
    def number_of_frames(self) -> int:
        return len(self._spans) if self.encapsulated else self.description.number_of_frames

    @property
    def stored_length(self) -> int:
        """Bytes of all frames as they are stored."""
        if self.encapsulated:
            return sum(span.length for span in self._spans)
        return self._pixel_data.length or 0

    @property
    def unaccounted(self) -> int:
        """Bytes of native pixel data behind the last frame, padding included."""
        bits = self.description.image.frame_bits * self.description.number_of_frames
        return 0 if self.encapsulated else (self._pixel_data.length or 0) - (bits + 7) // 8

    def stored(self, number: int) -> Buffer:
        """A frame as it is stored, little endian; its number counts from 1. Raises: FrameError."""
        if not 1 <= number <= self.number_of_frames:
            raise FrameError(f"frame {number} of {self.number_of_frames}", section="PS3.18 10.4.1.1.6")
        if self.encapsulated:
            return read_frame(self._data, self._spans[number - 1])
        span = native_span(
            self.description.image, self._pixel_data, number, little_endian=self._little_endian
        )
        return read_frame(self._data, span)

    def cells(self, number: int) -> tuple[Array, str]:
        """A frame decoded, and its photometric interpretation. Raises: FrameError, TranscodingError."""
        if self._decoded is not None and self._decoded[0] == number:
            return self._decoded[1]
        decoded = decode_frame(self.stored(number), self._syntax, self.description, scratch=self.scratch)
        if self.encapsulated and decoded[0].nbytes <= _KEPT:
            self._decoded = number, decoded
        return decoded

    def reduced(self, number: int, reduction: int) -> tuple[Array, str, int]:
        """A frame as `cells`, its rows and columns halved so often where it is cheaper, and how often."""
        if reduction and (self._decoded is None or self._decoded[0] != number):
            stored = self.stored(number)
            found = decode_reduced(stored, self._syntax, self.description, reduction, scratch=self.scratch)
            if found is not None:
                return found
        return *self.cells(number), 0

    def native(self, number: int) -> Buffer:
        """A frame as in Explicit VR Little Endian. Raises: FrameError, TranscodingError."""
        if CODECS[self._syntax] is Codec.NATIVE:
            return self.stored(number)
        cells, _ = self.cells(number)
        return to_native(cells, self.description.bits_allocated, self.scratch)

    def encoded(self, number: int, target: str, quality: int | None = None) -> Encoded:
        """A frame in another transfer syntax, without loss unless a quality from 1 to 100 is given.

        Raises: FrameError, TranscodingError.
        """
        if target in RECOMPRESSED.get(self._syntax, ()) and quality is None:
            return Encoded(_recompressed(self.stored(number)), self.description.photometric_interpretation)
        cells, photometric = self.cells(number)
        if quality is not None:
            return encode_lossy(cells, photometric, self.description, target, quality, scratch=self.scratch)
        return encode_lossless(cells, photometric, self.description, target, scratch=self.scratch)


def _recompressed(frame: Buffer) -> bytes:
    """A JPEG as JPEG XL, or that JPEG again, bit for bit."""
    try:
        if bytes(frame[:2]) != _JPEG:
            return bytes(imagecodecs.jpegxl_decode_jpeg(bytes(frame), numthreads=1))
        whole = bytes(frame)
        end = whole.rfind(b"\xff\xd9")
        return bytes(imagecodecs.jpegxl_encode_jpeg(whole[: end + 2] if end > 0 else whole, numthreads=1))
    except (RuntimeError, ValueError) as error:
        raise TranscodingError(f"JPEG XL JPEG Recompression: {error}") from None
