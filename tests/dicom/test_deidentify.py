"""Nothing of the profile's table is left, at any depth (PS3.15 E.1)."""

from __future__ import annotations

import pytest

from dicomwire.dicom.confidentiality import EMPTIED, REMOVED, REPLACED, UIDS
from dicomwire.dicom.data_set import DataSet, decode, encode
from dicomwire.dicom.deidentify import Deidentified, NotDeidentified, deidentified
from dicomwire.dicom.dictionary import TAGS, keyword_of, vr_of
from dicomwire.dicom.part10 import read_file_meta
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN

SECRET = b"of a test"
TABLE = sorted(tag for tag in REMOVED | EMPTIED | REPLACED | UIDS if keyword_of(tag) and tag >> 16 < 0x7FE0)
# Values that no dummy has, by VR
VALUES = {
    **dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "CS", "AE"), "TELLS7"),
    "DA": "20240717",
    "TM": "171717",
    "DT": "20240717171717",
    "AS": "077Y",
    "UI": "1.2.7777",
    "DS": "77.7",
    "IS": "7777",
}
TELLING = (b"TELLS7", b"20240717", b"171717", b"077Y", b"1.2.7777", b"77.7", b"7777")


def everything() -> DataSet:
    """Every attribute of the table that is a string, or a sequence of one that tells."""
    found = DataSet()
    for tag in TABLE:
        vr = vr_of(tag)[:2]
        if vr in VALUES:
            found.put(tag, VALUES[vr])
        elif vr == "SQ":
            found.put(tag, DataSet().put("PatientName", "TELLS7").put("TextValue", "TELLS7"))
    return found


def cleaned(data_set: DataSet, secret: bytes = SECRET) -> tuple[Deidentified, DataSet]:
    data = memoryview(encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN))
    clean = deidentified(data, EXPLICIT_VR_LITTLE_ENDIAN, secret)
    file = b"".join(bytes(piece) for piece in clean.pieces())
    assert len(file) == len(clean)
    meta = read_file_meta(file, complete=True)
    assert meta is not None
    return clean, decode(file[meta.length :], EXPLICIT_VR_LITTLE_ENDIAN)


def instance(**more: str) -> DataSet:
    found = everything().put("SOPClassUID", "1.2.840.10008.5.1.4.1.1.481.5")
    for keyword, value in more.items():
        found.put(keyword, value)
    return found


def test_the_table_is_whole() -> None:
    assert (len(REMOVED), len(EMPTIED), len(REPLACED), len(UIDS)) == (380, 53, 128, 54)
    assert not REMOVED & EMPTIED | REPLACED & UIDS | (REMOVED | EMPTIED) & (REPLACED | UIDS)
    assert len(TABLE) > 500


def test_nothing_of_the_table_is_left_at_any_depth() -> None:
    nested = instance().put(
        "ReferencedSeriesSequence", everything().put("ReferencedSOPSequence", everything())
    )
    _, found = cleaned(nested.put(0x00091001, "TELLS7", vr="LO").put(0x60003000, b"TELLS7", vr="OB"))
    written = encode(found, EXPLICIT_VR_LITTLE_ENDIAN)
    for value in TELLING:
        assert value not in written, value
    assert found.text("PatientIdentityRemoved") == "YES"
    assert found.sequence("ReferencedSeriesSequence")[0].sequence("ReferencedSOPSequence")


def test_what_does_not_identify_stays() -> None:
    _, found = cleaned(instance(Modality="CT", SliceThickness="2.5"))
    assert found.text("Modality") == "CT"
    assert found.text("SliceThickness") == "2.5"
    assert found[TAGS["StudyDate"]].values == ()


def test_uids_are_others_and_the_same_for_the_same_secret() -> None:
    one, other = cleaned(instance()), cleaned(instance())
    assert one[0].sop_instance_uid == other[0].sop_instance_uid
    assert one[0].sop_instance_uid.startswith("2.25.")
    assert cleaned(instance(), b"another")[0].sop_instance_uid != one[0].sop_instance_uid
    assert one[1].text("SOPClassUID") == "1.2.840.10008.5.1.4.1.1.481.5"


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.104.1"])
def test_reports_and_documents_are_refused(sop_class: str) -> None:
    with pytest.raises(NotDeidentified):
        cleaned(instance(SOPClassUID=sop_class))
