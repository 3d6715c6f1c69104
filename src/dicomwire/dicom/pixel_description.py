"""What the attributes of the Image Pixel module say of the pixels (PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass

from dicomwire.dicom.frames import FrameError, Image
from dicomwire.dicom.scan import Scan

PIXEL_DATA = 0x7FE00010


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """The Image Pixel module of one data set.

    Attributes:
        rows, columns: at least 1.
        samples_per_pixel: 1, 3 or, retired, 4.
        photometric_interpretation: the defined term, "MONOCHROME2" where it is missing.
        planar_configuration: 0 colour by pixel, 1 colour by plane.
        bits_allocated: of one cell: 1, or a multiple of 8.
        bits_stored, high_bit: of the sample in its cell.
        pixel_representation: 0 unsigned, 1 two's complement.
        number_of_frames: at least 1.
        tag: (7FE0,0010), or (7FE0,0008) and (7FE0,0009) of floating point pixels.
    """

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    planar_configuration: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    pixel_representation: int
    number_of_frames: int = 1
    tag: int = PIXEL_DATA

    @property
    def frame_length(self) -> int:
        """Bytes of one native frame, the last one filled up."""
        return (self.image.frame_bits + 7) // 8

    @property
    def image(self) -> Image:
        """What gives native frames their size."""
        return Image(
            self.rows,
            self.columns,
            self.samples_per_pixel,
            self.bits_allocated,
            self.number_of_frames,
            self.photometric_interpretation,
        )

    @property
    def signed(self) -> bool:
        return self.pixel_representation == 1

    @property
    def is_float(self) -> bool:
        return self.tag != PIXEL_DATA


def describe(scan: Scan) -> PixelDescription:
    """The Image Pixel module of a scanned data set that has pixel data.

    What is missing or cannot be is taken for what most writers mean: samples 1, all bits of the cell used.
    Raises: FrameError, when there is no pixel data, or Rows, Columns or Bits Allocated is missing or zero.
    """
    if scan.pixel_data is None:
        raise FrameError("the data set has no pixel data", section="PS3.3 C.7.6.3")
    rows, columns, allocated = (scan.integer(tag) for tag in (0x00280010, 0x00280011, 0x00280100))
    if not rows or not columns or not allocated:
        raise FrameError("Rows, Columns or Bits Allocated is missing or zero", section="PS3.3 C.7.6.3")
    stored = scan.integer(0x00280101) or allocated
    stored = stored if stored <= allocated else allocated
    high_bit = scan.integer(0x00280102)
    if high_bit is None or not stored - 1 <= high_bit < allocated:
        high_bit = stored - 1
    return PixelDescription(
        rows=rows,
        columns=columns,
        samples_per_pixel=scan.integer(0x00280002) or 1,
        photometric_interpretation=scan.text(0x00280004).strip() or "MONOCHROME2",
        planar_configuration=scan.integer(0x00280006) or 0,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        pixel_representation=1 if scan.integer(0x00280103) == 1 else 0,
        number_of_frames=max(scan.integer(0x00280008) or 1, 1),
        tag=scan.pixel_data.tag,
    )
