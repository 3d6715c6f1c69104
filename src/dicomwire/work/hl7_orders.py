"""HL7 v2 orders as worklist items: ORM^O01, OMG^O19, OMI^O23 (HL7 v2.5.1 4.4, IHE RAD TF-2 4.4, 4.71).

Pure: bytes of a message in, what is to be done out, or `Rejected` with the words of its acknowledgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import NAMESPACE_OID, uuid5

import hl7

from dicomwire.dicom.data_set import DataSet
from dicomwire.errors import DicomwireError
from dicomwire.uids import is_valid_uid
from dicomwire.work.worklist import STEP

MESSAGES: Final = frozenset({("ORM", "O01"), ("OMG", "O19"), ("OMI", "O23")})

# HL7 table 0211 (in MSH-18): Python's codec and DICOM's Specific Character Set
CHARACTER_SETS: Final[Mapping[str, tuple[str, str]]] = {
    "": ("utf_8", ""),
    "ASCII": ("ascii", ""),
    "8859/1": ("latin_1", "ISO_IR 100"),
    "8859/2": ("iso8859_2", "ISO_IR 101"),
    "8859/3": ("iso8859_3", "ISO_IR 109"),
    "8859/4": ("iso8859_4", "ISO_IR 110"),
    "8859/5": ("iso8859_5", "ISO_IR 144"),
    "8859/6": ("iso8859_6", "ISO_IR 127"),
    "8859/7": ("iso8859_7", "ISO_IR 126"),
    "8859/8": ("iso8859_8", "ISO_IR 138"),
    "8859/9": ("iso8859_9", "ISO_IR 148"),
    "8859/15": ("iso8859_15", "ISO_IR 192"),
    "ISO IR87": ("iso2022_jp", "ISO_IR 192"),
    "ISO IR159": ("iso2022_jp_2", "ISO_IR 192"),
    "GB 18030-2000": ("gb18030", "GB18030"),
    "KS X 1001": ("euc_kr", "ISO_IR 192"),
    "UNICODE": ("utf_8", "ISO_IR 192"),
    "UNICODE UTF-8": ("utf_8", "ISO_IR 192"),
}
_PRIORITIES: Final = {"S": "STAT", "A": "HIGH", "R": "ROUTINE", "P": "HIGH", "T": "MEDIUM", "C": "HIGH"}
_SEXES: Final = {"M": "M", "F": "F", "O": "O", "A": "O", "U": "", "N": "O"}
_SCHEDULED: Final = frozenset({"NW", "XO", "RP", "RU", "SN", "PA", "CH"})
_ENDED: Final = frozenset({"CA", "DC", "OC", "OD"})
_STATUSES: Final = {"IP": "IN PROGRESS", "CM": "COMPLETED", "CA": "", "DC": ""}


class Rejected(DicomwireError):
    """A message that is not carried out.

    Attributes:
        code: "AR" where the message as such is no use, "AE" where its content is not.
        location: segment and field, as "PID-3".
    """

    def __init__(self, code: str, words: str, location: str = "") -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.location = location


@dataclass(frozen=True, slots=True)
class Header:
    """What an acknowledgement needs of a message's MSH segment; "" for what could not be read."""

    sender: tuple[str, str] = ("", "")
    receiver: tuple[str, str] = ("", "")
    trigger: str = ""
    control_id: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What one order asks for.

    Attributes:
        item: the worklist item; None for one that ends.
        accession_number, step_id: what an item that ends, or has another status, is known by.
        status: of the performed procedure step, "" to end the order.
    """

    accession_number: str
    step_id: str
    item: DataSet | None = field(default=None, repr=False)
    status: str = ""


def header_of(message: bytes) -> Header:
    """The header of a message, as far as there is one."""
    if not message.startswith(b"MSH") or len(message) < 8:
        return Header()
    separator = message[3:4]
    fields = [each.decode("ascii", "replace") for each in message.split(b"\r", 1)[0].split(separator)]
    fields += [""] * (20 - len(fields))
    trigger = fields[8].split(chr(message[4]))
    return Header(
        (fields[2], fields[3]),
        (fields[4], fields[5]),
        trigger[1] if len(trigger) > 1 else "",
        fields[9],
        fields[11],
    )


def orders_of(message: bytes, stations: Mapping[str, str]) -> list[Order]:
    """The orders of a message.

    stations: Scheduled Station AE Title by modality, where the message names none.
    Raises: Rejected.
    """
    parsed, term = _parsed(message)
    kind = (_text(parsed, "MSH", 9, 1), _text(parsed, "MSH", 9, 2))
    if kind not in MESSAGES:
        raise Rejected("AR", f"message type {'^'.join(kind)[:20]} is not taken", "MSH-9")
    _required(parsed, "PID", 3)
    _required(parsed, "PID", 5)
    patient = _patient(parsed, term)
    found = []
    groups = _groups(parsed)
    if not groups:
        raise Rejected("AR", "message has no ORC segment: is it cut?", "ORC")
    for group in groups:
        found.append(_order(group, parsed, patient, stations))
    return found


def _parsed(message: bytes) -> tuple[hl7.Message, str]:
    if not message.startswith(b"MSH") or len(message) < 9:
        raise Rejected("AR", "message does not begin with MSH", "MSH")
    if not message.endswith(b"\r"):
        raise Rejected("AR", "message is cut: its last segment has no end")
    fields = message.split(b"\r", 1)[0].split(message[3:4])
    name = fields[17].split(message[5:6])[0].decode("ascii", "replace") if len(fields) > 17 else ""
    known = CHARACTER_SETS.get(name.strip())
    if known is None:
        raise Rejected("AR", f"character set {name[:20]!a} is not known", "MSH-18")
    codec, term = known
    try:
        return hl7.parse(message.decode(codec)), term
    except UnicodeDecodeError as error:
        words = f"byte {error.start} is no {name or 'UTF-8'}"
        raise Rejected("AE", f"{words}, which MSH-18 {'says' if name else 'implies'}", "MSH-18") from None
    except (hl7.HL7Exception, ValueError, IndexError, KeyError) as error:
        raise Rejected("AR", f"message cannot be read: {error}"[:80]) from None


def _patient(message: hl7.Message, term: str) -> DataSet:
    """What every order of a message says of its patient."""
    item = DataSet()
    if term:
        item.put("SpecificCharacterSet", term)
    item.put("PatientName", _name(message, "PID", 5, at=0))
    item.put("PatientID", _text(message, "PID", 3, 1))
    if issuer := _text(message, "PID", 3, 4):
        item.put("IssuerOfPatientID", issuer.split("&")[0])
    item.put("PatientBirthDate", _text(message, "PID", 7, 1)[:8])
    item.put("PatientSex", _SEXES.get(_text(message, "PID", 8, 1).upper(), ""))
    item.put("AdmissionID", _text(message, "PV1", 19, 1))
    item.put(
        "CurrentPatientLocation", " ".join(filter(None, (_text(message, "PV1", 3, n) for n in (1, 2, 3))))
    )
    item.put("ReferringPhysicianName", _name(message, "PV1", 8, at=1))
    return item


def _order(group: hl7.Message, message: hl7.Message, patient: DataSet, stations: Mapping[str, str]) -> Order:
    control = _text(group, "ORC", 1, 1)
    accession = _first(group, ("IPC", 1), ("OBR", 18), ("ORC", 3), ("OBR", 3))
    procedure = _first(group, ("IPC", 2), ("OBR", 19), ("ORC", 2), ("OBR", 2)) or accession
    step_id = _first(group, ("IPC", 4), ("OBR", 20)) or procedure
    if not procedure:
        raise Rejected("AE", "order has no number: neither IPC-2, OBR-19, ORC-2 nor OBR-2", "ORC-2")
    if control in _ENDED:
        return Order(accession, step_id)
    if control == "SC":
        status = _text(group, "ORC", 5, 1)
        if status not in _STATUSES:
            raise Rejected("AE", f"order status {status[:10]!a} means nothing here", "ORC-5")
        return Order(accession, step_id, status=_STATUSES[status])
    if control not in _SCHEDULED:
        raise Rejected("AE", f"order control {control[:10]!a} means nothing here", "ORC-1")
    start = _first(group, ("TQ1", 7)) or _text(group, "ORC", 7, 4) or _text(group, "OBR", 27, 4)
    start = start or _first(group, ("OBR", 36)) or _text(message, "MSH", 7, 1)
    modality = _first(group, ("IPC", 5), ("OBR", 24))
    if not modality:
        raise Rejected("AE", "order has no modality: neither IPC-5 nor OBR-24", "OBR-24")
    if len(start) < 8:
        raise Rejected("AE", "order has no date: neither TQ1-7, ORC-7 nor OBR-27", "TQ1-7")
    step = DataSet()
    step.put("ScheduledStationAETitle", _first(group, ("IPC", 9)) or stations.get(modality, modality))
    step.put("ScheduledProcedureStepStartDate", start[:8])
    step.put("ScheduledProcedureStepStartTime", start[8:14].split("+")[0].split("-")[0] or "000000")
    step.put("Modality", modality)
    step.put("ScheduledPerformingPhysicianName", _name(group, "OBR", 34, at=1))
    step.put("ScheduledProcedureStepDescription", _text(group, "OBR", 4, 5) or _text(group, "OBR", 4, 2))
    step.put("ScheduledProcedureStepID", step_id)
    step.put("ScheduledStationName", _text(group, "IPC", 7, 1))
    step.put("ScheduledProcedureStepLocation", _text(group, "IPC", 8, 1))
    if coded := _code(group, "IPC", 6) or _code(group, "OBR", 4, 3):
        step.put("ScheduledProtocolCodeSequence", coded)
    item = DataSet(patient).put(STEP, step)
    item.put("AccessionNumber", accession).put("RequestedProcedureID", procedure)
    item.put("RequestedProcedureDescription", _text(group, "OBR", 44, 2) or _text(group, "OBR", 4, 2))
    if coded := _code(group, "OBR", 44) or _code(group, "OBR", 4):
        item.put("RequestedProcedureCodeSequence", coded)
    item.put("RequestingPhysician", _name(group, "OBR", 16, at=1) or _name(group, "ORC", 12, at=1))
    priority = _first(group, ("TQ1", 9)) or _text(group, "ORC", 7, 6) or _text(group, "OBR", 27, 6)
    item.put("RequestedProcedurePriority", _PRIORITIES.get(priority[:1].upper(), ""))
    item.put("PatientTransportArrangements", _text(group, "OBR", 30, 1))
    uid = _first(group, ("IPC", 3), ("ZDS", 1)) or _first(message, ("ZDS", 1))
    if uid and not is_valid_uid(uid):
        raise Rejected("AE", f"Study Instance UID {uid[:20]!a} is no UID", "ZDS-1")
    sender = "/".join(_text(message, "MSH", number, 1) for number in (3, 4))
    item.put(
        "StudyInstanceUID", uid or f"2.25.{uuid5(NAMESPACE_OID, f'{sender}/{accession}/{procedure}').int}"
    )
    return Order(accession, step_id, item)


def _groups(message: hl7.Message) -> list[hl7.Message]:
    """The segments of each order: from its ORC to the next."""
    groups: list[list[hl7.Segment]] = []
    for segment in message:
        if str(segment[0][0]) == "ORC":
            groups.append([])
        if groups:
            groups[-1].append(segment)
    return [message.create_message(group) for group in groups]


def _first(message: hl7.Message, *fields: tuple[str, int]) -> str:
    return next((text for name, number in fields if (text := _text(message, name, number, 1))), "")


def _required(message: hl7.Message, segment: str, number: int) -> None:
    if not _text(message, segment, number, 1):
        raise Rejected("AE", f"{segment}-{number} has no value", f"{segment}-{number}")


def _text(message: hl7.Message, segment: str, number: int, component: int) -> str:
    """One component of the first repetition of a field; "" where there is none, and for HL7's null."""
    try:
        text = str(message.extract_field(segment, 1, number, 1, component, 1) or "")
    except (LookupError, hl7.HL7Exception):
        return ""
    return "" if text == '""' else text.strip()


def _name(message: hl7.Message, segment: str, number: int, *, at: int) -> str:
    """A name as DICOM writes it; at: components before the family name (XPN has 0, XCN 1)."""
    family, given, middle, suffix, prefix = (_text(message, segment, number, at + n) for n in range(1, 6))
    return "^".join((family, given, middle, prefix, suffix)).rstrip("^")


def _code(message: hl7.Message, segment: str, number: int, skipped: int = 0) -> DataSet | None:
    """A coded element as an item of a code sequence."""
    value, meaning, scheme = (_text(message, segment, number, skipped + n) for n in (1, 2, 3))
    if not value:
        return None
    item = DataSet().put("CodeValue", value[:16]).put("CodingSchemeDesignator", (scheme or "L")[:16])
    return item.put("CodeMeaning", meaning or value)
