"""DICOM files: preamble and File Meta Information (PS3.10 7.1).

Meta information is always Explicit VR Little Endian. Reading keeps to the group, not to (0002,0000), which
is often missing or wrong; writing always makes our own, with a zeroed preamble.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import Final

from dicomwire.dicom.dictionary import tag_text
from dicomwire.dicom.encoding import EXPLICIT_LITTLE, UNDEFINED, VRS, Buffer
from dicomwire.errors import Part10Error
from dicomwire.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    IMPLICIT_VR_LITTLE_ENDIAN,
    name_of,
)

PREAMBLE_LENGTH: Final = 128  # bytes (PS3.10 7.1)
META_LIMIT: Final = 1 << 20  # bytes; private information (0002,0102) may be long, but not endless
_MAGIC: Final = b"DICM"
_DATA_START: Final = PREAMBLE_LENGTH + len(_MAGIC)
_BEFORE_GROUP_LENGTH: Final = bytes(PREAMBLE_LENGTH) + _MAGIC + b"\x02\x00\x00\x00UL\x04\x00"


@dataclass(frozen=True, slots=True)
class FileMeta:
    """The File Meta Information of one file.

    Attributes:
        media_storage_sop_class_uid, media_storage_sop_instance_uid: "" where the file has none.
        transfer_syntax_uid: guessed, with a finding, where the file has none.
        length: bytes before the data set: preamble, prefix and meta information.
        elements: raw value of every element of group 0002 by tag.
        findings: what is not as the standard wants it, though the file can be read.
    """

    media_storage_sop_class_uid: str
    media_storage_sop_instance_uid: str
    transfer_syntax_uid: str
    length: int
    elements: dict[int, bytes]
    findings: tuple[str, ...] = ()


def read_file_meta(data: Buffer, *, complete: bool = False, accept_bare: bool = False) -> FileMeta | None:
    """Read preamble and meta information from the first bytes of a file.

    data: any number of bytes from the file's first on.
    complete: these are all bytes of the file.
    accept_bare: a bare data set, without any meta information, is taken with a finding and a guessed transfer
        syntax; its length here is 0.
    Returns: None when more bytes are needed. A file without preamble that starts with group 0002 is read,
    with a finding; so is one whose meta information names no transfer syntax, which is then guessed from the
    data set.
    Raises: Part10Error, when it is no DICOM file: no prefix and no group 0002.
    Source: PS3.10 7.1.
    """
    findings: list[str] = []
    start = _start(data, complete, findings)
    if start is None:
        return None
    if start < 0:
        return _bare(data, accept_bare)
    elements: dict[int, bytes] = {}
    position, size = start, len(data)
    group_end: int | None = None
    while True:
        if position + 8 > size:
            if not complete:
                return None
            if position < size:
                raise _error(f"file meta information: {size - position} bytes remain, 8 wanted", position)
            break
        group, element, code, length = EXPLICIT_LITTLE.header.unpack_from(data, position)
        if group != 0x0002:
            break
        tag = group << 16 | element
        value = position + 8
        if code in EXPLICIT_LITTLE.long:
            if position + 12 > size:
                if not complete:
                    return None
                raise _error(f"{tag_text(tag)}: cut in its length field", position)
            (length,) = EXPLICIT_LITTLE.length.unpack_from(data, position + 8)
            value = position + 12
        elif code not in EXPLICIT_LITTLE.short:
            # Implicit VR in the meta information: older writers, one test file of pydicom's
            (length,) = EXPLICIT_LITTLE.length.unpack_from(data, position + 4)
            findings.append(f"{tag_text(tag)} is in implicit VR (PS3.10 7.1)")
        if length == UNDEFINED or value + length - start > META_LIMIT:
            raise _error(f"{tag_text(tag)}: {length} bytes, more than the {META_LIMIT} allowed", position)
        if value + length > size:
            if not complete:
                return None
            raise _error(f"{tag_text(tag)}: {length} bytes, {size - value} remain", position)
        elements[tag] = bytes(data[value : value + length])
        position = value + length
        if tag == 0x00020000 and length == 4:
            group_end = position + int.from_bytes(elements[tag], "little")
    return _file_meta(data, position, elements, group_end, findings)


def guess_transfer_syntax(data: Buffer) -> str:
    """The uncompressed transfer syntax in which a data set seems to be written, from its first element.

    data: at least six bytes of the data set, otherwise Implicit VR Little Endian.
    """
    if len(data) >= 6 and bytes(data[4:6]).decode("latin_1") in VRS:
        return EXPLICIT_VR_LITTLE_ENDIAN if data[0] else EXPLICIT_VR_BIG_ENDIAN
    return IMPLICIT_VR_LITTLE_ENDIAN


def write_file_meta(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    *,
    source_ae_title: str | None = None,
) -> bytes:
    """Preamble of zeros, prefix and meta information for a data set of ours.

    Source: PS3.10 Table 7.1-1.
    """
    head, tail = _around_instance_uid(sop_class_uid, transfer_syntax_uid, source_ae_title)
    uid = sop_instance_uid.encode("ascii")
    length = len(uid) + (len(uid) & 1)
    group_length = len(head) + 2 + length + len(tail)
    return b"%b%b%b%b%b%b" % (
        _BEFORE_GROUP_LENGTH,
        group_length.to_bytes(4, "little"),
        head,
        length.to_bytes(2, "little"),
        uid.ljust(length, b"\0"),
        tail,
    )


@lru_cache(maxsize=1024)
def _around_instance_uid(
    sop_class_uid: str, transfer_syntax_uid: str, source_ae_title: str | None
) -> tuple[bytes, bytes]:
    """The meta information between group length and value of (0002,0003), but for its length; and what
    follows.
    """
    head = pack("<HH2sHI2s", 0x0002, 0x0001, b"OB", 0, 2, b"\x00\x01")  # File Meta Information Version
    head += _element(0x0002, b"UI", sop_class_uid)
    head += pack("<HH2s", 0x0002, 0x0003, b"UI")
    tail = _element(0x0010, b"UI", transfer_syntax_uid)
    tail += _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID)
    tail += _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME)
    if source_ae_title:
        tail += _element(0x0016, b"AE", source_ae_title)
    return head, tail


def _element(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) & 1:
        value += b"\0" if vr == b"UI" else b" "
    return pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def _start(data: Buffer, complete: bool, findings: list[str]) -> int | None:
    """Byte offset of group 0002, None when more bytes are needed to tell, -1 when there is none."""
    if len(data) < _DATA_START and not complete:
        return None
    if data[PREAMBLE_LENGTH:_DATA_START] == _MAGIC:
        return _DATA_START
    if data[:4] == _MAGIC:
        findings.append("the file has its prefix at byte 0, without a preamble (PS3.10 7.1)")
        return 4
    if data[:2] == b"\x02\x00":
        findings.append("the file has neither preamble nor prefix (PS3.10 7.1)")
        return 0
    return -1


def _bare(data: Buffer, accept: bool) -> FileMeta:
    """A file without preamble, prefix and group 0002: a data set, or nothing of ours."""
    if len(data) < 8 or bytes(data[:2]) not in (b"\x08\x00", b"\x00\x08"):
        raise _error(
            f"no DICM prefix at byte {PREAMBLE_LENGTH} and no group 0002 at byte 0: no DICOM file", 0
        )
    syntax = guess_transfer_syntax(data)
    finding = f"a data set, it seems in {name_of(syntax)}, without File Meta Information"
    if not accept:
        raise _error(f"{finding}: no DICOM file", 0)
    return FileMeta("", "", syntax, 0, {}, (f"{finding} (PS3.10 7.1)",))


def _file_meta(
    data: Buffer, position: int, elements: dict[int, bytes], group_end: int | None, findings: list[str]
) -> FileMeta:
    if group_end is None:
        findings.append("(0002,0000) is missing (PS3.10 7.1)")
    elif group_end != position:
        findings.append(f"(0002,0000) ends the group at byte {group_end}, it ends at {position} (PS3.10 7.1)")
    sop_class_uid, sop_instance_uid, transfer_syntax_uid = (
        elements.get(tag, b"").decode("latin_1").strip(" \0") for tag in (0x00020002, 0x00020003, 0x00020010)
    )
    if not transfer_syntax_uid:
        transfer_syntax_uid = guess_transfer_syntax(data[position : position + 6])
        findings.append(f"(0002,0010) is missing; the data set seems to be in {name_of(transfer_syntax_uid)}")
    return FileMeta(
        sop_class_uid,
        sop_instance_uid,
        transfer_syntax_uid,
        position,
        elements,
        tuple(dict.fromkeys(findings)),
    )


def _error(what: str, position: int) -> Part10Error:
    return Part10Error(what, position, section="PS3.10 7.1")
