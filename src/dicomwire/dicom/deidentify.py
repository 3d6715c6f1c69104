"""Data sets without identity: the Basic Application Confidentiality Profile (PS3.15 E.1, E.2).

Every attribute of the profile's table is removed, emptied or replaced, at any depth; private attributes,
curves and overlays go, and so does what no dictionary knows and what follows the pixels. UIDs become others,
always the same one for the same secret, so that references between instances still hold. Pixels are not
looked at: what may have text in them, and reports and documents, whose words are free, are refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from dicomwire.dicom.confidentiality import EMPTIED, REMOVED, REPLACED, UIDS
from dicomwire.dicom.convert import BLOCK
from dicomwire.dicom.data_set import UTF_8, Attribute, DataSet, Value, decode, encode
from dicomwire.dicom.dictionary import TAGS, keyword_of
from dicomwire.dicom.encoding import encoding_of
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.dicom.scan import scan
from dicomwire.errors import DicomwireError

_SOP_CLASS, _SOP_INSTANCE = TAGS["SOPClassUID"], TAGS["SOPInstanceUID"]
_REPEATING: Final = range(0x5000, 0x5100), range(0x6000, 0x6100)  # groups of curves and overlays
_HEADER: Final = 12  # bytes before the value of pixel data (PS3.5 7.1.2)
_LONGEST: Final = 64 << 20  # bytes of a data set without its pixels, held in memory
_WORDS: Final = ("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.104.")  # reports, documents

# Classes whose pixels come from the detector: text in them is told by Burned In Annotation, if ever
_MEASURED: Final = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{number}"
    for number in (
        *("1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "2", "2.1", "2.2"),
        *("4", "4.1", "4.3", "4.4", "12.1", "12.1.1", "12.2", "12.2.1", "13.1.1", "13.1.2", "13.1.3"),
        *("20", "30", "128", "128.1", "130", "481.2"),
    )
)

# What stands in the place of a value, by VR
_DUMMIES: Final[dict[str, Value]] = {
    "AE": "ANONYMOUS",
    "AS": "000Y",
    "CS": "ANONYMOUS",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "IS": "0",
    "LO": "ANONYMOUS",
    "LT": "ANONYMOUS",
    "PN": "ANONYMOUS",
    "SH": "ANONYMOUS",
    "ST": "ANONYMOUS",
    "TM": "000000",
    "UC": "ANONYMOUS",
    "UR": "about:blank",
    "UT": "ANONYMOUS",
}


class NotDeidentified(DicomwireError):
    """An instance that cannot be rid of what identifies a person."""


@dataclass(frozen=True, slots=True)
class Deidentified:
    """An instance without identity.

    Attributes:
        sop_instance_uid: its new one.
    """

    sop_instance_uid: str
    head: bytes
    _pixel_data: memoryview

    def __len__(self) -> int:
        return len(self.head) + len(self._pixel_data)

    def pieces(self) -> Iterator[bytes | memoryview]:
        """The Part 10 file, pixel data in slices of at most 1 MiB."""
        yield self.head
        for start in range(0, len(self._pixel_data), BLOCK):
            yield self._pixel_data[start : start + BLOCK]


def deidentified(data: memoryview, transfer_syntax_uid: str, secret: bytes) -> Deidentified:
    """An instance without identity, in its own transfer syntax.

    data: the data set, in explicit VR little endian, encapsulated or not.
    secret: decides the new UIDs.
    Raises: NotDeidentified; DataSetError, when the data set cannot be read to its end.
    """
    assert encoding_of(transfer_syntax_uid).explicit, "implicit VR never leaves over the web"
    start = end = len(data)
    pixels = scan(data, transfer_syntax_uid).pixel_data
    if pixels is not None:
        start, end = pixels.offset - _HEADER, pixels.end
    if start > _LONGEST:
        raise NotDeidentified(f"{start} bytes before its pixels; at most {_LONGEST} are looked through")
    data_set = decode(data[:start], transfer_syntax_uid)
    if pixels is not None:
        data_set = DataSet({tag: data_set[tag] for tag in data_set if tag < pixels.tag})
    _check(data_set, has_pixels=pixels is not None)
    clean = _Cleaner(secret).data_set(data_set)
    clean.put("PatientIdentityRemoved", "YES")
    clean.put("DeidentificationMethod", "DICOM PS3.15 Basic Application Confidentiality Profile")
    clean.put("DeidentificationMethodCodeSequence", _BASIC_PROFILE)
    clean.put("LongitudinalTemporalInformationModified", "REMOVED")
    uid = clean.text(_SOP_INSTANCE)
    meta = write_file_meta(clean.text(_SOP_CLASS), uid, transfer_syntax_uid)
    return Deidentified(uid, meta + encode(clean, transfer_syntax_uid, character_set=UTF_8), data[start:end])


_BASIC_PROFILE: Final = (
    DataSet()
    .put("CodeValue", "113100")
    .put("CodingSchemeDesignator", "DCM")
    .put("CodeMeaning", "Basic Application Confidentiality Profile")
)


def _check(data_set: DataSet, *, has_pixels: bool) -> None:
    """Raises: NotDeidentified, for what may say who it is where no attribute tells."""
    sop_class = data_set.text(_SOP_CLASS)
    if sop_class.startswith(_WORDS):
        raise NotDeidentified("a report or document: its words may name people")
    if not has_pixels:
        return
    burned_in = data_set.text("BurnedInAnnotation").upper()
    if burned_in == "YES":
        raise NotDeidentified("Burned In Annotation is YES: its pixels may name people")
    if burned_in != "NO" and sop_class not in _MEASURED:
        raise NotDeidentified("nothing says that there is no text in its pixels (Burned In Annotation)")
    if data_set.text("RecognizableVisualFeatures").upper() == "YES":
        raise NotDeidentified("Recognizable Visual Features is YES: its pixels may show who it is")


class _Cleaner:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def data_set(self, data_set: DataSet) -> DataSet:
        clean = DataSet()
        for tag, attribute in data_set.items():
            group = tag >> 16
            if group & 1 or any(group in groups for groups in _REPEATING) or not keyword_of(tag):
                continue
            if tag not in REMOVED:
                clean[tag] = self._attribute(tag, attribute)
        return clean

    def _attribute(self, tag: int, attribute: Attribute) -> Attribute:
        vr, values = attribute.vr, attribute.values
        if tag in UIDS:
            return Attribute(vr, tuple(self._uid(str(value)) if value else value for value in values))
        if tag in EMPTIED:
            return Attribute(vr)
        if tag in REPLACED:  # of sequences and numbers no dummy is known that would say nothing
            return Attribute(vr, (_DUMMIES[vr],)) if vr in _DUMMIES else Attribute(vr)
        if vr == "SQ":
            return Attribute(vr, tuple(self.data_set(item) for item in values if isinstance(item, DataSet)))
        return attribute

    def _uid(self, uid: str) -> str:
        """Another UID for this one (PS3.5 B.2)."""
        digest = hmac.digest(self._secret, uid.encode("latin_1", "replace"), sha256)
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"
