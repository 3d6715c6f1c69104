"""HL7 orders: what becomes of their fields, character sets, and what is turned away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomwire.work import worklist
from dicomwire.work.hl7_orders import Rejected, header_of, orders_of
from dicomwire.work.hl7_worklist import acknowledgement, carry_out
from dicomwire.work.store import Store, open_store


def segment(name: str, **fields: str) -> str:
    """A segment; fields by number, as `_5`."""
    numbers = {int(each[1:]): value for each, value in fields.items()}
    return "|".join([name, *(numbers.get(number, "") for number in range(1, max(numbers) + 1))]) + "\r"


ORM = (
    "MSH|^~\\&|RIS|HOSP|PACS|HOSP|20260101090000||ORM^O01|M1|P|2.3.1||||||{charset}\r"
    + segment("PID", _3="P1^^^ISSUER", _5="{name}^Jane^M^Jr^Dr", _7="19700101", _8="F")
    + segment("PV1", _2="O", _3="WARD^1^2", _8="D1^House^Gregory", _19="ADM1")
    + segment("ORC", _1="{control}", _2="PL1", _3="FI1", _5="{status}", _12="REQ^Ordering^Otto")
    + segment(
        "OBR",
        _2="PL1",
        _3="FI1",
        _4="C1^CT Head^L^P1^Protocol^99P",
        _16="REQ^Ordering^Otto",
        _18="ACC1",
        _19="RP1",
        _20="SPS1",
        _24="{modality}",
        _27="^^^20260102103000^^S",
    )
    + "ZDS|1.2.3.4^100^Application^DICOM\r"
)
OMI = (
    "MSH|^~\\&|RIS|HOSP|PACS|HOSP|20260101090000||OMI^O23^OMI_O23|M2|P|2.5.1||||||UNICODE UTF-8\r"
    + segment("PID", _3="P2", _5="Roe^Richard")
    + segment("ORC", _1="NW", _2="PL2", _3="FI2")
    + segment("TQ1", _7="202601031200", _9="S")
    + segment("OBR", _2="PL2", _3="FI2", _4="C2^MR Knee^L")
    + "IPC|ACC2|RP2|1.2.3.5|SPS2|MR|PC^Protocol^99P|ST^Station|ROOM|MR1\r"
)


def orm(
    *,
    control: str = "NW",
    status: str = "",
    name: str = "Doe",
    charset: str = "",
    modality: str = "CT",
    codec: str = "utf_8",
) -> bytes:
    text = ORM.format(control=control, status=status, name=name, charset=charset, modality=modality)
    return text.encode(codec)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


def take(store: Store, message: bytes) -> int:
    orders = orders_of(message, {"CT": "CT1"})
    return store.apply(lambda change: carry_out(change, orders, now=1.0))


def accessions(store: Store) -> list[str]:
    return [str(row[0]) for row in store.rows("SELECT accession_number FROM worklist ORDER BY 1")]


def test_an_orm_is_an_item(store: Store) -> None:
    assert take(store, orm()) == 1
    item = worklist.find(store, 1)
    found, step = item.attributes, item.step
    assert found.text("PatientName") == "Doe^Jane^M^Dr^Jr"
    assert (found.text("PatientID"), found.text("IssuerOfPatientID")) == ("P1", "ISSUER")
    assert (found.text("PatientBirthDate"), found.text("PatientSex")) == ("19700101", "F")
    assert found.text("AdmissionID") == "ADM1"
    assert found.text("ReferringPhysicianName") == "House^Gregory"
    assert found.text("RequestingPhysician") == "Ordering^Otto"
    assert (found.text("AccessionNumber"), found.text("RequestedProcedureID")) == ("ACC1", "RP1")
    assert found.text("StudyInstanceUID") == "1.2.3.4"
    assert found.text("RequestedProcedurePriority") == "STAT"
    assert (step.text("ScheduledProcedureStepStartDate"), step.text("Modality")) == ("20260102", "CT")
    assert step.text("ScheduledProcedureStepStartTime") == "103000"
    assert (step.text("ScheduledProcedureStepID"), step.text("ScheduledStationAETitle")) == ("SPS1", "CT1")
    assert step.sequence("ScheduledProtocolCodeSequence")[0].text("CodeValue") == "P1"


def test_an_omi_is_an_item(store: Store) -> None:
    take(store, OMI.encode())
    item = worklist.find(store, 1)
    assert item.attributes.text("StudyInstanceUID") == "1.2.3.5"
    assert item.step.text("ScheduledStationAETitle") == "MR1"
    assert item.step.text("ScheduledProcedureStepStartTime") == "1200"
    assert item.attributes.text("AccessionNumber") == "ACC2"


def test_orders_are_changed_begun_and_cancelled(store: Store) -> None:
    take(store, orm())
    take(store, orm(control="XO", name="Changed"))
    assert worklist.find(store, 1).attributes.text("PatientName").startswith("Changed^")
    take(store, orm(control="SC", status="IP"))
    assert worklist.find(store, 1).performed == "IN PROGRESS"
    take(store, orm(control="CA"))
    assert accessions(store) == []


@pytest.mark.parametrize(
    ("charset", "codec", "name", "term"),
    [
        ("8859/1", "latin_1", "Müller", "ISO_IR 100"),
        ("8859/5", "iso8859_5", "Иван", "ISO_IR 144"),
        ("UNICODE UTF-8", "utf_8", "Müller", "ISO_IR 100"),
        ("", "utf_8", "山田", "ISO_IR 192"),
        ("GB 18030-2000", "gb18030", "王", "GB18030"),
    ],
)
def test_character_sets(store: Store, charset: str, codec: str, name: str, term: str) -> None:
    take(store, orm(charset=charset, codec=codec, name=name))
    item = worklist.find(store, 1)
    assert item.attributes.text("PatientName").startswith(name)
    assert item.character_set == term


REJECTED: dict[str, tuple[bytes, str, str]] = {
    "no MSH": (b"PID|||P1\r", "AR", "MSH"),
    "nothing": (b"", "AR", "MSH"),
    "cut in a segment": (orm()[:-9], "AR", "cut"),
    "cut before its orders": (orm()[: orm().index(b"ORC")], "AR", "ORC"),
    "another type": (orm().replace(b"ORM^O01", b"ADT^A01"), "AR", "ADT"),
    "an unknown character set": (orm(charset="EBCDIC"), "AR", "EBCDIC"),
    "another encoding than it says": (
        orm(charset="UNICODE UTF-8", codec="latin_1", name="Müller"),
        "AE",
        "UTF-8",
    ),
    "another encoding than it implies": (orm(codec="latin_1", name="Müller"), "AE", "UTF-8"),
    "more than ASCII": (orm(charset="ASCII", name="Müller"), "AE", "ASCII"),
    "no patient": (orm().replace(b"P1^^^ISSUER", b""), "AE", "PID-3"),
    "no name": (orm(name="").replace(b"^Jane^M^Jr^Dr", b""), "AE", "PID-5"),
    "no modality": (orm(modality=""), "AE", "modality"),
    "an order control that means nothing": (orm(control="ZZ"), "AE", "control"),
    "to cancel what is not there": (orm(control="CA").replace(b"ACC1", b"ACC9"), "AE", "no such order"),
    "a study that is no UID": (orm().replace(b"1.2.3.4^", b"x^"), "AE", "UID"),
    "a date that is none": (orm().replace(b"20260102103000", b"20261402103000"), "AE", "date"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_what_is_rejected_changes_nothing(store: Store, case: str) -> None:
    take(store, OMI.encode())
    message, code, words = REJECTED[case]
    with pytest.raises(Rejected) as rejected:
        take(store, message)
    assert rejected.value.code == code
    assert words.lower() in f"{rejected.value.words} {rejected.value.location}".lower()
    assert accessions(store) == ["ACC2"]


def outcome(message: bytes) -> str:
    try:
        orders_of(message, {})
    except Rejected as rejected:
        return rejected.code
    return "AA"


def test_a_message_cut_anywhere_is_rejected_or_ends_with_a_segment() -> None:
    whole = orm()
    for at in range(len(whole)):
        assert outcome(whole[:at]) in ("AR", "AE") or whole[:at].endswith(b"\r")
    assert outcome(whole) == "AA"


def test_acknowledgements() -> None:
    header = header_of(orm())
    accepted = acknowledgement(header, None, now=0.0).decode().split("\r")
    assert accepted[0] == ("MSH|^~\\&|PACS|HOSP|RIS|HOSP|19700101000000+0000||ACK^O01^ACK|AM1|P|2.3.1")
    assert accepted[1] == "MSA|AA|M1|"
    refused = acknowledgement(header, Rejected("AE", "PID-3 has | no value", "PID-3"), now=0.0).decode()
    assert refused.split("\r")[1:3] == [
        "MSA|AE|M1|PID-3 has  no value",
        "ERR||PID^1^3|207|E||||PID-3 has  no value",
    ]
    assert b"MSA|AR||" in acknowledgement(header_of(b"garbage"), Rejected("AR", "x"), now=0.0)
