"""Data sets without their bulk data (PS3.4 Z.1.3).

Left out of the data set itself is what Table Z.1-1 names, what is of the same kind, and the tables that would
lead to it; icons keep their pixels. Left out of the items of Waveform Sequence is Waveform Data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dicomwire.dicom.convert import Edits, edited
from dicomwire.dicom.deflate import INFLATE_LIMIT, inflate
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.encoding import Buffer, encoding_of
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES

_REPEATING: Final = range(0, 0x20, 2)  # groups 5000 to 501E, 6000 to 601E (PS3.5 7.6)
BULK_DATA: Final = (
    *(TAGS[keyword] for keyword in ("EncapsulatedDocument", "PixelDataProviderURL", "SpectroscopyData")),
    *(0x50003000 | group << 16 for group in _REPEATING),  # Curve Data
    *(0x5000200C | group << 16 for group in _REPEATING),  # Audio Sample Data
    *(0x60003000 | group << 16 for group in _REPEATING),  # Overlay Data
    *(TAGS[keyword] for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")),
    *(TAGS[keyword] for keyword in ("EncapsulatedPixelDataValueTotalLength", "FloatPixelData")),
    *(TAGS[keyword] for keyword in ("DoubleFloatPixelData", "PixelData")),
)
"""What is left out of the data set itself."""

_EDITS: Final = Edits(values=dict.fromkeys(BULK_DATA), left_out=frozenset({TAGS["WaveformData"]}))


def transfer_syntax_without_bulk_data(transfer_syntax_uid: str) -> str:
    """The transfer syntax that a data set of this one is in once its bulk data is gone."""
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    if syntax is None or syntax.encapsulated or syntax.deflated:
        return EXPLICIT_VR_LITTLE_ENDIAN
    return transfer_syntax_uid


def without_bulk_data(data: Buffer, transfer_syntax_uid: str) -> Iterator[Buffer]:
    """A data set without its bulk data, in the syntax that `transfer_syntax_without_bulk_data` names.

    Raises: DataSetError, while iterating, when the data set cannot be read to its end.
    """
    if encoding_of(transfer_syntax_uid).deflated:
        data = inflate(data, INFLATE_LIMIT)
    target = transfer_syntax_without_bulk_data(transfer_syntax_uid)
    return edited(data, transfer_syntax_uid, target, _EDITS)
