"""Which instance a file holds, from its first bytes (PS3.10 7.1, PS3.3 C.12.1).

SOP Instance UID is taken from the data set, since that is what is stored and found again; the file meta
information, which is not kept, serves where the data set has none. In nine of pydicom's test files the two
differ, RT plan and RT dose among them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from dicomwire.dicom.elements import elements
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, Buffer, encoding_of
from dicomwire.dicom.part10 import read_file_meta
from dicomwire.errors import DataSetError

_SOP_CLASS_UID: Final = 0x00080016
_SOP_INSTANCE_UID: Final = 0x00080018
_LOOK_AHEAD: Final = 16 << 10  # bytes of the data set in which its SOP Instance UID is looked for


@dataclass(frozen=True, slots=True)
class Identity:
    """What must be known of a file before its data set is taken.

    Attributes:
        sop_class_uid: of the file meta information, of the data set where that has none.
        sop_instance_uid: of the data set, of the file meta information where that has none.
        transfer_syntax_uid: of the data set.
        data_set_offset: bytes before the data set.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set_offset: int


def read_identity(head: Buffer, *, complete: bool) -> Identity | None:
    """The identity of the instance in a file that begins with these bytes.

    complete: these are all bytes of the file.
    Returns: None when more bytes are needed.
    Raises: Part10Error, when it is no DICOM file.
    """
    meta = read_file_meta(head, complete=complete)
    if meta is None:
        return None
    data_set = memoryview(head)[meta.length : meta.length + _LOOK_AHEAD]
    found = _first_uids(data_set, meta.transfer_syntax_uid)
    if found is None:
        if not complete and len(data_set) < _LOOK_AHEAD:
            return None
        found = {}
    return Identity(
        meta.media_storage_sop_class_uid or found.get(_SOP_CLASS_UID, ""),
        found.get(_SOP_INSTANCE_UID) or meta.media_storage_sop_instance_uid,
        meta.transfer_syntax_uid,
        meta.length,
    )


def _first_uids(data_set: Buffer, transfer_syntax_uid: str) -> dict[int, str] | None:
    """SOP class and instance UID at the front of a data set; None when it is cut before them."""
    encoding = encoding_of(transfer_syntax_uid)
    found: dict[int, str] = {}
    try:
        if encoding.deflated:
            data_set = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data_set, _LOOK_AHEAD)
            encoding = EXPLICIT_LITTLE
        for element in elements(data_set, encoding):
            if element.tag in (_SOP_CLASS_UID, _SOP_INSTANCE_UID):
                found[element.tag] = (
                    bytes(data_set[element.start : element.end]).decode("latin_1").strip(" \0")
                )
            if element.tag >= _SOP_INSTANCE_UID:
                return found
    except (DataSetError, zlib.error):
        pass
    return None
