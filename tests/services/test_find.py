"""C-FIND: rules of hierarchy, statuses, character sets, streams and cancels, on a small archive."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dicomwire.archive.archive import Archive, ArchiveOptions, Origin, Verdict
from dicomwire.archive.attributes import LEVELS
from dicomwire.dicom.data_set import DataSet, decode, encode
from dicomwire.dicom.dictionary import TAGS, keyword_of
from dicomwire.dimse import status
from dicomwire.dimse.command import CFindRq, Response
from dicomwire.services.find import FIND, services
from dicomwire.services.find_request import agreed, answered
from dicomwire.services.key_types import KEYS, level_in
from dicomwire.services.models import Root
from dicomwire.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from dicomwire.upper_layer.pdu import Buffer

PATIENT, STUDY = Root.PATIENT.value.find, Root.STUDY.value.find
PATIENT_STUDY_ONLY = Root.PATIENT_STUDY_ONLY.value.find
CT = "1.2.840.10008.5.1.4.1.1.2"


def instance(uid: str, *, character_set: str = "", **values: str) -> tuple[DataSet, str]:
    """A CT: `uid` is study.series.instance; and the character set it is written in."""
    study, series, _ = uid.split(".")
    data_set = (
        DataSet()
        .put("SOPClassUID", CT)
        .put("SOPInstanceUID", f"1.2.{uid}")
        .put("StudyInstanceUID", f"1.2.{study}")
        .put("SeriesInstanceUID", f"1.2.{study}.{series}")
        .put("Modality", "CT")
        .put("PatientID", f"P{study}")
        .put("PatientName", "Doe^Jane")
        .put("SeriesNumber", series)
        .put("InstanceNumber", uid.rpartition(".")[2])
        .put("ImageType", "ORIGINAL", "PRIMARY")
        .put("Rows", 512)
        .put("RequestAttributesSequence", request("SPS1", "RP1"), request("SPS2", "RP2"))
    )
    for keyword, value in values.items():
        data_set.put(keyword, value)
    return data_set, character_set


def request(step: str, procedure: str) -> DataSet:
    return DataSet().put("ScheduledProcedureStepID", step).put("RequestedProcedureID", procedure)


INSTANCES = (
    instance("1.1.1"),
    instance("1.1.2"),
    instance("1.2.1", Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.22"),
    instance("2.1.1", PatientID="P1", PatientName="Müller^Jörg", character_set="ISO_IR 100"),
    instance(
        "3.1.1",
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        character_set="\\ISO 2022 IR 87",
    ),
)


async def store(archive: Archive, data_set: DataSet, character_set: str) -> None:
    data = encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN, character_set=character_set, substitute=True)
    reception = archive.receive(
        sop_class_uid=data_set.text("SOPClassUID"),
        sop_instance_uid=data_set.text("SOPInstanceUID"),
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        origin=Origin("dimse", "192.0.2.1:104"),
    )
    reception.write(memoryview(data))
    done = asyncio.get_running_loop().create_future()
    reception.finish(done.set_result)
    assert (await done).verdict is Verdict.STORED


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    opened = Archive.open(tmp_path / "data", ArchiveOptions(free_space=0))
    opened.start(asyncio.get_running_loop())
    for data_set, character_set in INSTANCES:
        await store(opened, data_set, character_set)
    yield opened
    await opened.stop()


class Asking:
    """A request that keeps its answers; cancelled once it has had so many."""

    def __init__(
        self,
        sop_class_uid: str,
        transfer_syntax: str,
        character_set: str | None,
        agreement: bytes,
        patience: int,
    ) -> None:
        self.command = CFindRq(7, sop_class_uid)
        self.context = SimpleNamespace(abstract_syntax=sop_class_uid, transfer_syntax=transfer_syntax)
        self.association = SimpleNamespace(
            id="fake",
            peer="192.0.2.1:104",
            calling_ae_title="VIEWER",
            called_ae_title="ARCHIVE",
            character_set=character_set,
            agreement=SimpleNamespace(extended_negotiation={sop_class_uid: agreement}),
        )
        self.answers: list[tuple[Response, bytes]] = []
        self._patience = patience

    @property
    def cancelled(self) -> bool:
        return len(self.answers) >= self._patience

    @property
    def answered(self) -> bool:
        return bool(self.answers) and self.answers[-1][0].status not in (0xFF00, 0xFF01)

    def respond(
        self, response: Response, data: Iterable[Buffer] | None = None, *, final: bool = True
    ) -> None:
        self.answers.append((response, b"".join(bytes(piece) for piece in data or ())))

    async def send_all(
        self,
        answers: Iterable[tuple[Response, Iterable[Buffer] | None]],
        final: Response | None = None,
    ) -> None:
        for response, data in answers:
            self.respond(response, data)
        if final is not None:
            self.respond(final)
        await asyncio.sleep(0)


async def asked(
    archive: Archive,
    identifier: DataSet | bytes,
    sop_class_uid: str = STUDY,
    *,
    transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN,
    character_set: str | None = None,
    agreement: bytes = b"",
    patience: int = 1 << 40,
) -> tuple[list[DataSet], Response, list[bytes]]:
    """The Identifiers of the answers, the last answer, and the Identifiers' bytes."""
    asking = Asking(sop_class_uid, transfer_syntax, character_set, agreement, patience)
    service = services(archive, ("ARCHIVE", "OTHER"))[sop_class_uid, CFindRq]
    sink = service(asking)  # type: ignore[arg-type]
    data = identifier if isinstance(identifier, bytes) else encode(identifier, transfer_syntax)
    for at in range(0, len(data), 16384):
        sink.write(memoryview(data)[at : at + 16384])  # type: ignore[union-attr]
    await sink.finish()  # type: ignore[union-attr, misc]
    *pending, (last, nothing) = asking.answers
    assert nothing == b""
    assert all(response.message_id_being_responded_to == 7 for response, _ in asking.answers)
    return [decode(content, transfer_syntax) for _, content in pending], last, [each for _, each in pending]


def keys(level: str = "STUDY", **values: str) -> DataSet:
    found = DataSet()
    if level:
        found.put("QueryRetrieveLevel", level)
    for keyword, value in values.items():
        found.put(keyword, *([value] if value else []))
    return found


@pytest.mark.parametrize(
    ("model", "level", "values", "word"),
    [
        (STUDY, "", {}, "QueryRetrieveLevel"),
        (STUDY, "PATIENT", {}, "QueryRetrieveLevel"),
        (STUDY, "FOO", {}, "FOO"),
        (PATIENT_STUDY_ONLY, "SERIES", {"PatientID": "P1", "StudyInstanceUID": "1.2.1"}, "SERIES"),
        (PATIENT, "STUDY", {}, "PatientID"),
        (PATIENT, "STUDY", {"PatientID": ""}, "PatientID"),
        (PATIENT, "STUDY", {"PatientID": "P*"}, "PatientID"),
        (PATIENT, "SERIES", {"PatientID": "P1"}, "StudyInstanceUID"),
        (STUDY, "SERIES", {"PatientID": "P1"}, "StudyInstanceUID"),
        (STUDY, "IMAGE", {"StudyInstanceUID": "1.2.1"}, "SeriesInstanceUID"),
        (STUDY, "IMAGE", {"StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2\\1.3"}, "SeriesInstanceUID"),
        (STUDY, "SERIES", {"StudyInstanceUID": "1.2.1", "PatientName": "DOE*"}, "PatientName"),
        (STUDY, "STUDY", {"StudyInstanceUID": "1.2.*"}, "StudyInstanceUID"),
        (STUDY, "STUDY", {"StudyDate": "2024"}, "StudyDate"),
        (STUDY, "STUDY", {"StudyTime": "soon"}, "StudyTime"),
        (STUDY, "STUDY", {"NumberOfStudyRelatedSeries": "many"}, "NumberOfStudyRelatedSeries"),
    ],
)
async def test_what_does_not_fit_the_model_is_a900_with_a_comment_that_names_the_key(
    archive: Archive, model: str, level: str, values: dict[str, str], word: str
) -> None:
    found, last, _ = await asked(archive, keys(level, **values), model)
    assert (found, last.status) == ([], 0xA900)
    assert word in (last.error_comment or "")[:64]


@pytest.mark.parametrize(
    ("model", "level", "values", "expected"),
    [
        (PATIENT, "PATIENT", {}, ["P3", "P1"]),
        (PATIENT, "PATIENT", {"PatientName": "müller*"}, ["P1"]),
        (PATIENT, "STUDY", {"PatientID": "P1"}, ["1.2.2", "1.2.1"]),
        (PATIENT_STUDY_ONLY, "STUDY", {"PatientID": "P1"}, ["1.2.2", "1.2.1"]),
        (STUDY, "STUDY", {"PatientID": "P1"}, ["1.2.2", "1.2.1"]),
        (STUDY, "SERIES", {"StudyInstanceUID": "1.2.1"}, ["1.2.1.1", "1.2.1.2"]),
        (STUDY, "SERIES", {"StudyInstanceUID": "1.2.1", "PatientID": "P1"}, ["1.2.1.1", "1.2.1.2"]),
        (STUDY, "SERIES", {"StudyInstanceUID": "1.2.1", "PatientID": "P2"}, []),
        (STUDY, "SERIES", {"StudyInstanceUID": "1.2.1", "Modality": "SR"}, ["1.2.1.2"]),
        (
            STUDY,
            "IMAGE",
            {"StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2.1.1", "InstanceNumber": "2"},
            ["1.2.1.1.2"],
        ),
        (
            STUDY,
            "IMAGE",
            {"StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2.1.1", "ImageType": "PRIM*"},
            ["1.2.1.1.1", "1.2.1.1.2"],
        ),
    ],
)
async def test_each_model_is_searched_level_by_level(
    archive: Archive, model: str, level: str, values: dict[str, str], expected: list[str]
) -> None:
    found, last, _ = await asked(archive, keys(level, **values), model)
    unique = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}
    assert [each.text(unique.get(level, "SOPInstanceUID")) for each in found] == expected
    assert last.status == status.SUCCESS
    assert {each.text("QueryRetrieveLevel") for each in found} <= {level}
    assert {each.text("RetrieveAETitle") for each in found} <= {"ARCHIVE"}


async def test_relational_queries_need_no_unique_keys_and_match_above_the_level(archive: Archive) -> None:
    wanted = keys("IMAGE", PatientName="doe*", Modality="SR", SOPInstanceUID="")
    assert (await asked(archive, wanted))[1].status == 0xA900
    found, last, _ = await asked(archive, wanted, agreement=b"\1")
    assert last.status == 0
    assert [each.text("SOPInstanceUID") for each in found] == ["1.2.1.2.1"]


async def test_counts_and_what_a_study_consists_of(archive: Archive) -> None:
    wanted = keys(
        "STUDY",
        StudyInstanceUID="1.2.1",
        NumberOfPatientRelatedStudies="",
        NumberOfPatientRelatedSeries="",
        NumberOfPatientRelatedInstances="",
        NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="",
        ModalitiesInStudy="",
        SOPClassesInStudy="",
        InstanceAvailability="",
    )
    ((study,), _, _) = await asked(archive, wanted)
    counts = [f"NumberOf{each}" for each in ("PatientRelatedStudies", "PatientRelatedSeries")]
    counts += ["NumberOfPatientRelatedInstances", "NumberOfStudyRelatedSeries"]
    assert [study.text(each) for each in counts] == ["2", "3", "4", "2"]
    assert study.text("NumberOfStudyRelatedInstances") == "3"
    assert sorted(study.texts("ModalitiesInStudy")) == ["CT", "SR"]
    assert sorted(study.texts("SOPClassesInStudy")) == [CT, "1.2.840.10008.5.1.4.1.1.88.22"]
    assert study.text("InstanceAvailability") == "ONLINE"


async def test_a_sequence_returns_its_matching_items_with_the_keys_asked_for(archive: Archive) -> None:
    item = DataSet().put("ScheduledProcedureStepID", "SPS2").put("ReasonForTheRequestedProcedure")
    wanted = keys("SERIES", StudyInstanceUID="1.2.2").put("RequestAttributesSequence", item)
    ((series,), _, _) = await asked(archive, wanted)
    (answered_item,) = series.sequence("RequestAttributesSequence")
    assert answered_item.text("ScheduledProcedureStepID") == "SPS2"
    assert set(answered_item) == {TAGS["ScheduledProcedureStepID"], TAGS["ReasonForTheRequestedProcedure"]}
    ((whole,), _, _) = await asked(
        archive, keys("SERIES", StudyInstanceUID="1.2.2").put("RequestAttributesSequence")
    )
    assert [each.text("RequestedProcedureID") for each in whole.sequence("RequestAttributesSequence")] == [
        "RP1",
        "RP2",
    ]
    two = keys("SERIES", StudyInstanceUID="1.2.2").put("RequestAttributesSequence", item, item)
    assert (await asked(archive, two))[1].status == 0xA900


async def test_the_regions_of_a_study_are_those_of_its_series(archive: Archive) -> None:
    for series, code in (("1", "T-D3000"), ("2", "T-D4000"), ("3", "T-D3000")):
        data_set, _ = instance(f"8.{series}.1")
        data_set.put("AnatomicRegionSequence", DataSet().put("CodeValue", code))
        await store(archive, data_set, "")
    item = DataSet().put("CodeValue")
    wanted = keys(StudyInstanceUID="1.2.8").put("AnatomicRegionsInStudyCodeSequence", item)
    ((study,), last, _) = await asked(archive, wanted)
    assert last.status == 0
    regions = study.sequence("AnatomicRegionsInStudyCodeSequence")
    assert sorted(each.text("CodeValue") for each in regions) == ["T-D3000", "T-D4000"]
    item.put("CodeValue", "T-D4*")
    ((study,), _, _) = await asked(archive, keys().put("AnatomicRegionsInStudyCodeSequence", item))
    (region,) = study.sequence("AnatomicRegionsInStudyCodeSequence")
    assert region.text("CodeValue") == "T-D4000"


def test_every_key_of_the_standard_is_supported() -> None:
    for root, levels in KEYS.items():
        for level, of in levels.items():
            for tag in of:
                assert level_in(root, tag) is level


def test_every_attribute_that_can_be_asked_for_is_documented() -> None:
    words = set(re.findall(r"\w+", (Path(__file__).parents[2] / "docs/queries.md").read_text()))
    assert {keyword_of(tag) for tag in LEVELS} - words == {"SpecificCharacterSet"}


async def test_keys_that_are_not_supported_are_left_out_and_said_by_ff01(archive: Archive) -> None:
    asking = keys("STUDY", StudyInstanceUID="1.2.2", KVP="", Modality="CT", PatientName="")
    service = Asking(STUDY, EXPLICIT_VR_LITTLE_ENDIAN, None, b"", 1 << 40)
    sink = services(archive, ("A",))[STUDY, CFindRq](service)  # type: ignore[arg-type]
    sink.write(memoryview(encode(asking, EXPLICIT_VR_LITTLE_ENDIAN)))  # type: ignore[union-attr]
    await sink.finish()  # type: ignore[union-attr, misc]
    assert [response.status for response, _ in service.answers] == [0xFF01, 0]
    (study,) = [decode(data, EXPLICIT_VR_LITTLE_ENDIAN) for _, data in service.answers if data]
    assert TAGS["KVP"] not in study
    assert TAGS["Modality"] not in study
    assert study.text("PatientName") == "Müller^Jörg"


@pytest.mark.parametrize(
    ("study", "wanted", "peer", "written", "name"),
    [
        ("1.2.2", "", None, "ISO_IR 100", b"M\xfcller^J\xf6rg "),
        ("1.2.2", "ISO_IR 192", None, "ISO_IR 192", "Müller^Jörg ".encode()),
        ("1.2.2", "", "ISO_IR 192", "ISO_IR 192", "Müller^Jörg ".encode()),
        ("1.2.2", "ISO_IR 100", "ISO_IR 192", "ISO_IR 100", b"M\xfcller^J\xf6rg "),
        ("1.2.2", "ISO_IR 144", None, "ISO_IR 144", b"M?ller^J?rg "),
        ("1.2.2", "GB18030", None, "GB18030", "Müller^Jörg".encode("gb18030")),
        (
            "1.2.3",
            "",
            None,
            "\\ISO 2022 IR 87",
            bytes.fromhex(
                "59616d6164615e5461726f753d1b24423b3345441b28425e1b244242404f3a1b2842"
                "3d1b24422464245e24401b28425e1b2442243f246d24261b2842"
            ),
        ),
        ("1.2.3", "ISO_IR 192", None, "ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう".encode()),
        ("1.2.3", "ISO_IR 100", None, "ISO_IR 100", b"Yamada^Tarou=??^??=???^???"),
    ],
)
async def test_text_is_written_as_asked_for_else_as_stored(
    archive: Archive, study: str, wanted: str, peer: str | None, written: str, name: bytes
) -> None:
    asking = keys(StudyInstanceUID=study, PatientName="")
    if wanted:
        asking.put("SpecificCharacterSet", wanted)
    data = encode(asking, EXPLICIT_VR_LITTLE_ENDIAN, character_set=wanted, substitute=True)
    ((found,), last, (content,)) = await asked(archive, data, character_set=peer)
    assert last.status == 0
    assert "\\".join(found.texts("SpecificCharacterSet")) == written
    assert name.rstrip(b" ") in content


@pytest.mark.parametrize("name", ["山田*", "*たろう", "yamada^tarou", "Yamada^Tarou=山田^太郎"])
async def test_names_are_asked_for_in_any_character_set(archive: Archive, name: str) -> None:
    for term in ("ISO_IR 192", "\\ISO 2022 IR 87", "GB18030"):
        asking = keys(PatientName=name).put("SpecificCharacterSet", *term.split("\\"))
        data = encode(asking, EXPLICIT_VR_LITTLE_ENDIAN, character_set=term, substitute=True)
        found, _, _ = await asked(archive, data)
        assert [each.text("StudyInstanceUID") for each in found] == ["1.2.3"], term


@pytest.mark.parametrize(
    "transfer_syntax", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN]
)
async def test_every_transfer_syntax_has_the_same_answer(archive: Archive, transfer_syntax: str) -> None:
    wanted = keys("IMAGE", StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.1", ImageType="", Rows="")
    wanted.put("Rows").put("RequestAttributesSequence")
    found, _, _ = await asked(archive, wanted, transfer_syntax=transfer_syntax)
    assert [each.values_of("Rows") for each in found] == [(512,), (512,)]
    assert [each.texts("ImageType") for each in found] == [("ORIGINAL", "PRIMARY")] * 2
    assert [each.text("InstanceNumber") for each in found] == ["", ""]
    assert len(found[0].sequence("RequestAttributesSequence")) == 2


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"garbage that is no data set", 0xC000),
        (b"\x08\x00\x52\x00CS\xff\x00STUDY ", 0xC000),
        (b"\x00" * 7, 0xA900),
        (b"", 0xA900),
        (b"\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 10_000, 0xC000),
        (b"x" * (3 << 20), 0xA700),
    ],
    ids=["garbage", "cut", "zeros", "empty", "10,000 nested items", "3 MiB"],
)
async def test_bad_identifiers_are_answered_with_a_status_and_a_comment(
    archive: Archive, data: bytes, code: int
) -> None:
    found, last, _ = await asked(archive, data)
    assert (found, last.status) == ([], code)
    assert last.error_comment


@pytest.mark.parametrize(
    ("values", "code", "matches"),
    [
        ({"PatientID": "'; DROP TABLE study; --"}, 0, 0),
        ({"PatientName": '" OR 1=1 --'}, 0, 0),
        ({"PatientID": "P%"}, 0, 0),
        ({"PatientID": "[P]*"}, 0, 0),
        ({"StudyInstanceUID": "\\".join(f"1.2.{n}" for n in range(10_000))}, 0, 3),
        ({"StudyInstanceUID": "\\".join(f"1.2.{n}" for n in range(100_000))}, 0xA900, 0),
        ({"PatientID": "\\".join(f"P{n}" for n in range(1000))}, 0xA900, 0),
        ({"PatientName": "*" * 10_000}, 0, 3),
        ({"PatientName": "?" * 10_000}, 0xA900, 0),
    ],
)
async def test_hostile_values_are_matched_as_they_are_or_refused(
    archive: Archive, values: dict[str, str], code: int, matches: int
) -> None:
    found, last, _ = await asked(
        archive, encode(keys(**values), IMPLICIT_VR_LITTLE_ENDIAN), transfer_syntax=IMPLICIT_VR_LITTLE_ENDIAN
    )
    assert (last.status, len(found)) == (code, matches)
    assert bool(last.error_comment) is bool(code)


@pytest.mark.parametrize(("depth", "code"), [(1, 0), (15, 0), (16, 0xA900), (60, 0xA900)])
async def test_keys_are_nested_as_deep_as_makes_sense(archive: Archive, depth: int, code: int) -> None:
    item = DataSet().put("CodeValue", "x")
    for _ in range(depth - 1):
        item = DataSet().put("RequestAttributesSequence", item)
    wanted = keys("SERIES", StudyInstanceUID="1.2.1").put("RequestAttributesSequence", item)
    found, last, _ = await asked(archive, wanted)
    assert (found, last.status) == ([], code)


async def test_a_peers_character_set_is_that_of_what_it_asks(archive: Archive) -> None:
    data = encode(keys(PatientName="MÜLLER*"), EXPLICIT_VR_LITTLE_ENDIAN, character_set="ISO_IR 192")
    unnamed = data.replace(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192", b"")
    assert unnamed != data
    found, _, _ = await asked(archive, unnamed, character_set="ISO_IR 192")
    assert [each.text("StudyInstanceUID") for each in found] == ["1.2.2"]
    assert (await asked(archive, unnamed))[0] == []
    latin = keys(PatientName="MÜLLER*").put("StudyInstanceUID")
    sent = encode(latin, EXPLICIT_VR_LITTLE_ENDIAN, character_set="ISO_IR 100")
    ((study,), _, _) = await asked(archive, sent.replace(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", b""))
    assert study.texts("SpecificCharacterSet") == ("ISO_IR 100",)


async def test_what_names_no_character_set_is_answered_as_stored(archive: Archive) -> None:
    wanted = keys(StudyInstanceUID="1.2.2").put("PatientName")
    sent = encode(wanted.put("SpecificCharacterSet", "ISO_IR 100"), EXPLICIT_VR_LITTLE_ENDIAN)
    assert b"ISO_IR 100" in sent
    assert (await asked(archive, sent))[0] == (
        await asked(archive, sent.replace(b"ISO_IR 100", b"ISO_IR 999"))
    )[0]


async def test_a_cancel_ends_the_answers_with_fe00(archive: Archive) -> None:
    found, last, _ = await asked(archive, keys(), patience=0)
    assert (found, last.status) == ([], 0xFE00)
    for number in range(10, 60):
        await store(archive, *instance(f"{number}.1.1"))
    found, last, _ = await asked(archive, keys(), patience=1)
    assert last.status == 0xFE00
    assert 1 <= len(found) <= 16


async def test_more_matches_than_a_page_come_once_each(archive: Archive) -> None:
    for number in range(10, 330):
        await store(archive, *instance(f"{number}.1.1"))
    found, last, _ = await asked(archive, keys())
    assert last.status == 0
    assert len({each.text("StudyInstanceUID") for each in found}) == len(found) == 323


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
async def test_fuzzy_matching_only_where_it_was_agreed_on(archive: Archive, level: str) -> None:
    wanted = keys("STUDY", PatientName="jöhrg MUELER")
    assert (await asked(archive, wanted))[0] == []
    found, _, _ = await asked(archive, wanted, agreement=b"\0\0\1")
    assert [each.text("StudyInstanceUID") for each in found] == ["1.2.2"]


ABROAD = b"\1\1\0\1"


@pytest.mark.parametrize(
    ("values", "zone", "agreement", "expected"),
    [
        ({"StudyDate": "20240101", "StudyTime": ""}, "+0100", ABROAD, [("20240101", "233000.5")]),
        ({"StudyDate": "20240102", "StudyTime": ""}, "+0100", ABROAD, []),
        ({"StudyDate": "20240102", "StudyTime": ""}, "+0900", ABROAD, [("20240102", "073000.5")]),
        ({"StudyDate": "20240101", "StudyTime": ""}, "+0900", ABROAD, []),
        ({"StudyDate": "20240102", "StudyTime": ""}, "+0900", b"\1\1", []),
        ({"StudyDate": "", "StudyTime": "0700-0800"}, "+0900", ABROAD, [("20240102", "073000.5")]),
        (
            {"StudyDate": "20240101-20240102", "StudyTime": "2330-0730"},
            "+0900",
            ABROAD,
            [("20240102", "073000.5")],
        ),
        ({"StudyDate": "20240102-20240102", "StudyTime": "0000-0729"}, "+0900", ABROAD, []),
        ({"StudyDate": "20240102-", "StudyTime": ""}, "+0900", ABROAD, [("20240102", "073000.5")]),
    ],
)
async def test_times_are_in_the_zone_of_the_query_where_that_was_agreed_on(
    archive: Archive,
    values: dict[str, str],
    zone: str,
    agreement: bytes,
    expected: list[tuple[str, str]],
) -> None:
    dated = {"StudyDate": "20240101", "StudyTime": "233000.5", "TimezoneOffsetFromUTC": "+0100"}
    await store(archive, *instance("9.1.1", **dated))
    wanted = keys(StudyInstanceUID="1.2.9", TimezoneOffsetFromUTC=zone, **values)
    found, last, _ = await asked(archive, wanted, agreement=agreement)
    assert last.status == 0
    if agreement is ABROAD:
        assert [(each.text("StudyDate"), each.text("StudyTime")) for each in found] == expected
        assert {each.text("TimezoneOffsetFromUTC") for each in found} <= {zone}
    else:
        assert found == []  # the offset is a key like any other
    bad = keys(StudyInstanceUID="1.2.9", TimezoneOffsetFromUTC="UTC", **values)
    assert (await asked(archive, bad, agreement=ABROAD))[1].status == 0xA900


def test_extended_negotiation_takes_all_but_enhanced_multi_frame_conversion() -> None:
    assert answered(b"\1\1\1\1\1\1\1") == b"\1\1\1\1\0\1\1"
    assert answered(b"\1\0") == b"\1\0"
    assert answered(b"") == b""
    assert answered(b"\1" * 9) == b"\1\1\1\1\0\1\1"
    agreement = agreed(b"\1\0\1")
    assert (agreement.relational, agreement.combined, agreement.fuzzy) == (True, False, True)
    assert not agreement.all_values


def test_the_service_is_there_for_three_models() -> None:
    assert set(FIND) == {PATIENT, STUDY, PATIENT_STUDY_ONLY}
