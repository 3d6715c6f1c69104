"""Keys as people write them, to bytes and back."""

from __future__ import annotations

import io

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.identifier import Key, encode, parse, path_text, values
from dicomwire.errors import QueryError
from dicomwire.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)


def written(*texts: str, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, charset: str | None = None) -> bytes:
    return encode(map(parse, texts), syntax, character_set_name=charset)


def as_pydicom(data: bytes, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> pydicom.Dataset:
    return (
        pydicom.dcmread(io.BytesIO(data), force=True)
        if syntax == EXPLICIT_VR_LITTLE_ENDIAN
        else (
            pydicom.filereader.read_dataset(
                io.BytesIO(data), syntax == IMPLICIT_VR_LITTLE_ENDIAN, syntax != EXPLICIT_VR_BIG_ENDIAN
            )
        )
    )


@pytest.mark.parametrize("name", ["PatientID", "(0010,0020)", "00100020", "0010,0020"])
def test_a_key_is_named_by_keyword_or_tag(name: str) -> None:
    assert parse(f"{name}=a=b") == Key((0x00100020,), "a=b", given=True)


def test_a_bare_name_asks_for_the_attribute() -> None:
    assert parse("PatientID") == Key((0x00100020,))
    assert parse("PatientID=") == Key((0x00100020,), given=True)


def test_an_unknown_keyword_names_close_ones() -> None:
    with pytest.raises(QueryError, match="did you mean PatientName"):
        parse("PatientNam=DOE")


@pytest.mark.parametrize(
    "text", ["PatientID.PatientName=x", "MessageID=1", "TransferSyntaxUID=1.2", "=x", ""]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        parse(text)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_keys_come_out_ascending_as_pydicom_reads_them(syntax: str) -> None:
    data = written(
        "StudyDate=20200101-",
        "PatientName=DOE^J*",
        "Rows=512",
        "ScheduledProcedureStepSequence.Modality=CT",
        "ScheduledProcedureStepSequence.ScheduledStationAETitle",
        "ReferencedStudySequence",
        "StudyInstanceUID=1.2.3\\1.2.34",
        syntax=syntax,
    )
    found = as_pydicom(data, syntax)
    assert list(found.keys()) == sorted(found.keys())
    assert found.PatientName == "DOE^J*"
    assert found.Rows == 512
    assert found.StudyInstanceUID == ["1.2.3", "1.2.34"]
    assert found.ScheduledProcedureStepSequence[0].Modality == "CT"
    assert found.ScheduledProcedureStepSequence[0].ScheduledStationAETitle == ""
    assert len(found.ReferencedStudySequence) == 0
    assert "SpecificCharacterSet" not in found


def test_a_key_given_twice_has_both_values() -> None:
    assert as_pydicom(written("PatientID=1", "PatientID=2")).PatientID == ["1", "2"]
    assert as_pydicom(written("PatientID", "PatientID=2")).PatientID == "2"


@pytest.mark.parametrize(
    ("charset", "expected"),
    [(None, "ISO_IR 192"), ("ISO_IR 100", "ISO_IR 100"), ("ISO_IR 192", "ISO_IR 192")],
)
def test_text_beyond_ascii_says_its_character_set(charset: str | None, expected: str) -> None:
    found = as_pydicom(written("PatientName=MÜLLER*", charset=charset))
    found.decode()
    assert found.SpecificCharacterSet == expected
    assert found.PatientName == "MÜLLER*"


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("\\ISO 2022 IR 87", "YAMADA^TAROU=山田^太郎"),
        ("\\ISO 2022 IR 149", "HONG^GILDONG=洪^吉洞=홍^길동"),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", "MÜLLER^ЛЮ"),
    ],
)
def test_text_is_written_with_code_extensions(charset: str, name: str) -> None:
    found = as_pydicom(written(f"PatientName={name}", charset=charset))
    found.decode()
    assert found.PatientName == name


def test_the_character_set_can_be_a_key() -> None:
    found = as_pydicom(written("SpecificCharacterSet=ISO_IR 144", "PatientName=ЛЮ*"))
    assert found.SpecificCharacterSet == "ISO_IR 144"
    assert found.PatientName == "ЛЮ*"


@pytest.mark.parametrize(
    ("text", "charset", "words"),
    [
        ("PatientName=ЛЮ", "ISO_IR 100", "not in the character set"),
        ("PatientName=x", "ISO_IR 7", "no defined term"),
        ("Modality=Ä", None, "ASCII"),
        ("Rows=many", None, "no number"),
        ("Rows=70000", None, "cannot hold"),
        ("PixelData=1", None, "matches no value"),
        ("ReferencedStudySequence=1", None, "is a sequence"),
    ],
)
def test_what_cannot_be_written_is_refused_in_words(text: str, charset: str | None, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        written(text, charset=charset)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_values_are_those_that_were_written(syntax: str) -> None:
    data = written(
        "PatientName=MÜLLER^X",
        "Rows=5\\6",
        "FrameIncrementPointer=(0018,1063)",
        "ReferencedStudySequence",
        "ScheduledProcedureStepSequence.Modality=CT",
        syntax=syntax,
    )
    found = {path_text(path): value for path, value in values(data, syntax).items()}
    assert found == {
        "SpecificCharacterSet": ("ISO_IR 192",),
        "ReferencedStudySequence": (),
        "PatientName": ("MÜLLER^X",),
        "Rows": ("5", "6"),
        "FrameIncrementPointer": ("(0018,1063)",),
        "ScheduledProcedureStepSequence": (),
        "ScheduledProcedureStepSequence.Modality": ("CT",),
    }


def test_values_of_all_items_are_together() -> None:
    item = pydicom.Dataset()
    item.Modality = "CT"
    other = pydicom.Dataset()
    other.Modality = "MR"
    data = pydicom.Dataset()
    data.ScheduledProcedureStepSequence = [item, other]
    buffer = io.BytesIO()
    data.save_as(buffer, implicit_vr=False, little_endian=True)
    path = (TAGS["ScheduledProcedureStepSequence"], TAGS["Modality"])
    assert values(buffer.getvalue(), EXPLICIT_VR_LITTLE_ENDIAN)[path] == ("CT", "MR")


@given(st.text(max_size=30).map(lambda text: text.replace("\\", "").strip(" \0\x1b")))
def test_any_text_goes_there_and_back(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    data = encode([Key((TAGS["StudyDescription"],), text)])
    found = values(data, EXPLICIT_VR_LITTLE_ENDIAN)[(TAGS["StudyDescription"],)]
    assert found == ((text,) if text else ())
