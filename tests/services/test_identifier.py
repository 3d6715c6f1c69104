"""Identifiers: collected up to a limit, read whatever is in them, written for those that failed."""

from __future__ import annotations

import asyncio

import pydicom
import pytest

from dicomwire.dicom.dictionary import TAGS
from dicomwire.errors import DataSetError
from dicomwire.services import identifier
from dicomwire.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.services.retrieving import decoded, encoded

SYNTAXES = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_values_outside_of_sequences_are_read_in_their_character_set(syntax: str) -> None:
    item = pydicom.Dataset()
    item.PatientID = "inner"
    data = encoded(
        {
            "SpecificCharacterSet": "ISO_IR 192",
            "QueryRetrieveLevel": "STUDY",
            "ReferencedPatientSequence": [item],
            "PatientID": "Zoë",
            "StudyInstanceUID": ["1.2", "1.3"],
            "PatientName": "",
        },
        implicit=syntax == IMPLICIT_VR_LITTLE_ENDIAN,
    )
    found = identifier.read(data, syntax)
    assert found.level == "STUDY"
    assert found.texts(TAGS["PatientID"]) == ["Zoë"]
    assert found.texts(TAGS["StudyInstanceUID"]) == ["1.2", "1.3"]
    assert found.texts(TAGS["PatientName"]) == found.texts(TAGS["SeriesInstanceUID"]) == []


def test_missing_level_is_empty() -> None:
    assert identifier.read(b"", IMPLICIT_VR_LITTLE_ENDIAN).level == ""


def test_big_endian_identifier_is_read() -> None:
    data = bytes.fromhex("0008 0052 4353 0006") + b"STUDY "
    assert identifier.read(data, EXPLICIT_VR_BIG_ENDIAN).level == "STUDY"


@pytest.mark.parametrize("garbage", [b"\xff" * 40, b"\x08\x00\x52\x00\xff\xff\x00\x00", b"abc"])
def test_garbage_is_a_data_set_error(garbage: bytes) -> None:
    with pytest.raises(DataSetError):
        identifier.read(garbage, IMPLICIT_VR_LITTLE_ENDIAN)


def test_ten_thousand_nested_items_are_a_data_set_error() -> None:
    nested = bytes.fromhex("0800 2011 FFFFFFFF FEFF 00E0 FFFFFFFF") * 10_000
    with pytest.raises(DataSetError, match="within each other"):
        identifier.read(nested, IMPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize(("chunks", "expected"), [(["ab", "c"], b"abc"), (["ab", "cd", "e"], None)])
async def test_more_than_the_limit_is_read_past(chunks: list[str], expected: bytes | None) -> None:
    got: list[bytes | None] = []

    async def whole(data: bytes | None) -> None:
        got.append(data)

    collector = identifier.Collector(whole, limit=4)
    for chunk in chunks:
        collector.write(memoryview(chunk.encode()))
    await collector.finish()
    assert got == [expected]


@pytest.mark.parametrize("count", [1, 3, 5_000])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_failed_instances_are_listed_however_many(syntax: str, count: int) -> None:
    uids = [f"1.2.1{number:050d}" for number in range(count)]
    implicit = syntax == IMPLICIT_VR_LITTLE_ENDIAN
    found = decoded(identifier.failed_instances(uids, syntax), implicit=implicit)
    value = found["FailedSOPInstanceUIDList"].value
    if isinstance(value, bytes):
        value = value.rstrip(b"\0").decode().split("\\")
    assert ([value] if count == 1 else list(value)) == uids


def test_failed_instances_in_big_endian() -> None:
    data = identifier.failed_instances(["1.2"], EXPLICIT_VR_BIG_ENDIAN)
    assert data == bytes.fromhex("0008 0058 5549 0004") + b"1.2\0"


def test_abort_lets_go_of_what_came() -> None:
    async def whole(data: bytes | None) -> None:
        assert data is None

    collector = identifier.Collector(whole)
    collector.write(memoryview(b"abc"))
    collector.abort("the association ended")
    asyncio.run(_awaited(collector))


async def _awaited(collector: identifier.Collector) -> None:
    await collector.finish()
