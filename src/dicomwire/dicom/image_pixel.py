"""The Image Pixel module as a codestream tells it (PS3.18 10.5.2, PS3.3 C.7.6.3, PS3.5 8.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from dicomwire.dicom.codecs import CODECS, VIDEO, Codec
from dicomwire.dicom.codestream import Codestream, read_jpeg, read_jpeg_2000
from dicomwire.dicom.data_set import DataSet
from dicomwire.dicom.encoding import Buffer
from dicomwire.dicom.raster import Raster

_READERS: Final[Mapping[Codec, Callable[[Buffer], Codestream]]] = {
    Codec.JPEG: read_jpeg,
    Codec.JPEG_LOSSLESS: read_jpeg,
    Codec.JPEG_LS: read_jpeg,
    Codec.JPEG_2000: read_jpeg_2000,
    Codec.HTJ2K: read_jpeg_2000,
}


def read_codestream(frame: Buffer, transfer_syntax_uid: str) -> Codestream | None:
    """The header of a frame; None for codecs whose headers do not tell enough.

    Raises: TranscodingError, when it is no such frame.
    """
    reader = _READERS.get(CODECS.get(transfer_syntax_uid, Codec.NATIVE))
    return reader(frame) if reader is not None else None


def attributes_of(codestream: Codestream, transfer_syntax_uid: str) -> DataSet:
    """What the Image Pixel module says of an image of such frames."""
    colour = codestream.components == 3
    found = (
        DataSet()
        .put("SamplesPerPixel", codestream.components)
        .put("PhotometricInterpretation", _photometric(codestream, CODECS[transfer_syntax_uid]))
        .put("Rows", codestream.rows)
        .put("Columns", codestream.columns)
        .put("BitsAllocated", 8 if codestream.precision <= 8 else 16)
        .put("BitsStored", codestream.precision)
        .put("HighBit", codestream.precision - 1)
        .put("PixelRepresentation", int(codestream.signed))
    )
    if colour:
        found.put("PlanarConfiguration", 0)
    if codestream.lossless is False:
        found.put("LossyImageCompression", "01")
    return found


def attributes_of_probed(found: Raster, transfer_syntax_uid: str) -> DataSet:
    """The same of what a codec had to look at: a video, or a JPEG XL image (PS3.5 8.2)."""
    video = transfer_syntax_uid in VIDEO
    colour = "YBR_PARTIAL_420" if video else "RGB"
    told = (
        DataSet()
        .put("SamplesPerPixel", found.samples)
        .put("PhotometricInterpretation", colour if found.samples == 3 else "MONOCHROME2")
        .put("Rows", found.rows)
        .put("Columns", found.columns)
        .put("BitsAllocated", 8 if found.bits <= 8 else 16)
        .put("BitsStored", found.bits)
        .put("HighBit", found.bits - 1)
        .put("PixelRepresentation", 0)
    )
    if found.samples == 3:
        told.put("PlanarConfiguration", 0)
    if video:
        told.put("NumberOfFrames", found.frames).put("LossyImageCompression", "01")
    return told


def _photometric(codestream: Codestream, codec: Codec) -> str:
    """PS3.5 8.2.1 to 8.2.4."""
    if codestream.components != 3:
        return "MONOCHROME2"
    if codec in (Codec.JPEG_2000, Codec.HTJ2K):
        return ("YBR_ICT" if codestream.lossless is False else "YBR_RCT") if codestream.ycc else "RGB"
    if codec is Codec.JPEG and codestream.ycc is not False:
        return "YBR_FULL_422" if codestream.subsampled else "YBR_FULL"
    return "RGB"
