"""HL7 orders: what becomes of their fields, character sets, and what is turned away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomwire.work import worklist
from dicomwire.work.hl7_acknowledgement import acknowledgements
from dicomwire.work.hl7_message import ErrorCode, Rejected, header_of, with_segment_ends
from dicomwire.work.hl7_orders import orders_of
from dicomwire.work.hl7_worklist import carry_out
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


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_segments_end_as_senders_end_them(store: Store, end: str, last: bool) -> None:
    message = end.join(orm().decode().split("\r")[:-1]) + end * last
    assert take(store, with_segment_ends(message.encode())) == 1
    assert accessions(store) == ["ACC1"]
    assert worklist.find(store, 1).attributes.text("StudyInstanceUID") == "1.2.3.4"


def outcome(message: bytes) -> str:
    try:
        orders_of(message, {})
    except Rejected as rejected:
        return rejected.code
    return "AA"


def test_a_message_cut_anywhere_is_rejected_or_names_its_study_whole_or_not_at_all() -> None:
    whole = orm()
    for at in range(len(whole)):
        said, last = outcome(whole[:at]), whole[:at].rpartition(b"\r")[2]
        assert said in ("AR", "AE") or not last.startswith(b"ZDS") or last.endswith(b"^DICOM")
    assert outcome(whole[: whole.index(b"OBR")]) in ("AR", "AE")


def acknowledged(message: bytes, rejected: Rejected | None = None, *, order_reply: bool = False) -> list[str]:
    """The first segments of each answer: MSH-9, MSA and ERR."""
    found = acknowledgements(header_of(message), rejected, now=0.0, order_reply=order_reply)
    told = []
    for answer in found:
        head, *others = answer.decode().rstrip("\r").split("\r")
        told.append(" ".join([head.split("|")[8], *others]))
    return told


def test_a_message_is_answered_by_its_header_turned_round() -> None:
    (answer,) = acknowledgements(header_of(orm()), None, now=0.0)
    head, told, _ = answer.decode().split("\r")
    assert head == "MSH|^~\\&|PACS|HOSP|RIS|HOSP|19700101000000+0000||ACK^O01^ACK|AM1|P|2.3.1"
    assert told == "MSA|AA|M1|"
    assert acknowledged(b"garbage", Rejected("AR", "x")) == ["ACK MSA|AR||x ERR|||207^^HL70357|E||||x"]


NO_VALUE = Rejected("AE", "PID-3 has | no value", "PID-3", ErrorCode.REQUIRED_FIELD_MISSING)


def test_an_error_is_where_its_version_has_it() -> None:
    assert acknowledged(orm(), NO_VALUE) == [
        "ACK^O01^ACK MSA|AE|M1|PID-3 has  no value ERR|PID^1^3^101&PID-3 has  no value&HL70357"
    ]
    assert acknowledged(OMI.encode(), NO_VALUE) == [
        "ACK^O23^ACK MSA|AE|M2|PID-3 has  no value ERR||PID^1^3|101^^HL70357|E||||PID-3 has  no value"
    ]
    assert acknowledged(OMI.encode(), Rejected("AR", "x", "MSH")) == [
        "ACK^O23^ACK MSA|AR|M2|x ERR||MSH|207^^HL70357|E||||x"
    ]


def enhanced(accept: str, application: str) -> bytes:
    return orm().replace(b"|2.3.1||||||", f"|2.3.1|||{accept}|{application}||".encode())


USELESS = Rejected("AR", "no", "MSH-9", ErrorCode.UNSUPPORTED_MESSAGE_TYPE)
MODES: dict[tuple[str, str], tuple[str, str, str]] = {
    # MSH-15, MSH-16: codes of the answers to what is carried out, to what is wrong, and to what is useless
    ("", ""): ("AA", "AE", "AR"),
    ("AL", "NE"): ("CA", "CE", "CR"),
    ("NE", "AL"): ("AA", "AE", ""),
    ("AL", "AL"): ("CA AA", "CA AE", "CR"),
    ("ER", "NE"): ("", "CE", "CR"),
    ("SU", "ER"): ("CA", "CA AE", ""),
    ("NE", "NE"): ("", "", ""),
    ("AL", ""): ("CA", "CE", "CR"),
}


@pytest.mark.parametrize("mode", MODES)
def test_enhanced_mode_answers_what_is_wanted(mode: tuple[str, str]) -> None:
    message = enhanced(*mode)
    for rejected, codes in zip((None, NO_VALUE, USELESS), MODES[mode], strict=True):
        told = acknowledged(message, rejected)
        assert " ".join(each.split("MSA|")[1][:2] for each in told) == codes


def test_an_order_may_be_replied_to_by_its_own_message() -> None:
    assert acknowledged(orm(), order_reply=True) == ["ORR^O02 MSA|AA|M1|"]
    assert acknowledged(OMI.encode(), order_reply=True) == ["ORI^O24^ORI_O24 MSA|AA|M2|"]
    assert acknowledged(orm().replace(b"ORM^O01", b"ADT^A01"), USELESS, order_reply=True)[0].startswith("ACK")
    assert acknowledged(enhanced("AL", "AL"), order_reply=True) == [
        "ACK^O01^ACK MSA|CA|M1|",
        "ORR^O02 MSA|AA|M1|",
    ]


VALUES = {
    r"O\T\Brien": "O&Brien^Jane^M^Dr^Jr",
    r"a\S\b=c": "a b c^Jane^M^Dr^Jr",
    r"a\E\b": "a/b^Jane^M^Dr^Jr",
    "a\tb": "a b^Jane^M^Dr^Jr",
}


@pytest.mark.parametrize("sent", VALUES)
def test_values_are_what_dicom_can_hold(store: Store, sent: str) -> None:
    take(store, orm(name=sent))
    assert worklist.find(store, 1).attributes.text("PatientName") == VALUES[sent]


def test_repetitions_of_the_character_set_name_those_of_escape_sequences(store: Store) -> None:
    for number, charset in enumerate(("~ISO IR87", "ASCII~ISO IR87", "ISO IR6~ISO IR14~ISO IR87"), 1):
        own = orm(charset=charset).replace(b"SPS1", f"SPS{number}".encode())
        take(store, own.replace(b"Doe^Jane", "山田^太郎".encode("iso2022_jp")))
        assert worklist.find(store, number).attributes.text("PatientName") == "山田^太郎^M^Dr^Jr"


def test_escape_sequences_that_are_not_named_are_an_error(store: Store) -> None:
    with pytest.raises(Rejected, match="escape sequences"):
        take(store, orm().replace(b"Doe", "山田".encode("iso2022_jp")))
    with pytest.raises(Rejected, match="not known"):
        take(store, orm(charset="8859/1~EBCDIC"))


def test_a_site_names_the_character_set_of_those_who_do_not(store: Store) -> None:
    message = orm(name="Müller", codec="latin_1")
    (order,) = orders_of(message, {}, "8859/1")
    assert order.item is not None
    assert order.item.text("PatientName").startswith("Müller^")
    (order,) = orders_of(orm(charset="UNICODE UTF-8", name="山田"), {}, "8859/1")
    assert order.item is not None
    assert order.item.text("PatientName").startswith("山田^")
