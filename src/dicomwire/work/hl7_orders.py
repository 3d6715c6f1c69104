"""HL7 v2 orders as worklist items: ORM^O01, OMG^O19, OMI^O23 (HL7 v2.5.1 4.4, IHE RAD TF-2 4.4, 4.71).

Pure: bytes of a message in, what is to be done out, or `Rejected`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import NAMESPACE_OID, uuid5

import hl7

from dicomwire.dicom.data_set import DataSet
from dicomwire.uids import is_valid_uid
from dicomwire.work.hl7_message import ErrorCode, Rejected, first, name, read, required, text
from dicomwire.work.worklist_keys import STEP

MESSAGES: Final = frozenset({("ORM", "O01"), ("OMG", "O19"), ("OMI", "O23")})

_PRIORITIES: Final = {"S": "STAT", "A": "HIGH", "R": "ROUTINE", "P": "HIGH", "T": "MEDIUM", "C": "HIGH"}
_SEXES: Final = {"M": "M", "F": "F", "O": "O", "A": "O", "U": "", "N": "O"}
_SCHEDULED: Final = frozenset({"NW", "XO", "RP", "RU", "SN", "PA", "CH"})
_ENDED: Final = frozenset({"CA", "DC", "OC", "OD"})
_STATUSES: Final = {"IP": "IN PROGRESS", "CM": "COMPLETED", "CA": "", "DC": ""}


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


def orders_of(message: bytes, stations: Mapping[str, str], character_set: str = "") -> list[Order]:
    """The orders of a message.

    stations: Scheduled Station AE Title by modality, where the message names none.
    character_set: of messages that name none, as MSH-18 would.
    Raises: Rejected.
    """
    parsed, term = read(message, character_set)
    kind = (text(parsed, "MSH", 9, 1), text(parsed, "MSH", 9, 2))
    if kind not in MESSAGES:
        words = f"message type {'^'.join(kind)[:20]} is not taken"
        raise Rejected("AR", words, "MSH-9", ErrorCode.UNSUPPORTED_MESSAGE_TYPE)
    required(parsed, "PID", 3)
    required(parsed, "PID", 5)
    patient = _patient(parsed, term)
    found = []
    groups = _groups(parsed)
    if not groups:
        raise Rejected("AR", "message has no ORC segment: is it cut?", "ORC", ErrorCode.SEGMENT_SEQUENCE)
    for group in groups:
        found.append(_order(group, parsed, patient, stations))
    return found


def _patient(message: hl7.Message, term: str) -> DataSet:
    """What every order of a message says of its patient."""
    item = DataSet()
    if term:
        item.put("SpecificCharacterSet", term)
    item.put("PatientName", name(message, "PID", 5, at=0))
    item.put("PatientID", text(message, "PID", 3, 1))
    if issuer := text(message, "PID", 3, 4):
        item.put("IssuerOfPatientID", issuer.split("&")[0])
    item.put("PatientBirthDate", text(message, "PID", 7, 1)[:8])
    item.put("PatientSex", _SEXES.get(text(message, "PID", 8, 1).upper(), ""))
    item.put("AdmissionID", text(message, "PV1", 19, 1))
    item.put(
        "CurrentPatientLocation", " ".join(filter(None, (text(message, "PV1", 3, n) for n in (1, 2, 3))))
    )
    item.put("ReferringPhysicianName", name(message, "PV1", 8, at=1))
    return item


def _order(group: hl7.Message, message: hl7.Message, patient: DataSet, stations: Mapping[str, str]) -> Order:
    control = text(group, "ORC", 1, 1)
    accession = first(group, ("IPC", 1), ("OBR", 18), ("ORC", 3), ("OBR", 3))
    procedure = first(group, ("IPC", 2), ("OBR", 19), ("ORC", 2), ("OBR", 2)) or accession
    step_id = first(group, ("IPC", 4), ("OBR", 20)) or procedure
    if not procedure:
        words = "order has no number: neither IPC-2, OBR-19, ORC-2 nor OBR-2"
        raise Rejected("AE", words, "ORC-2", ErrorCode.REQUIRED_FIELD_MISSING)
    if control in _ENDED:
        return Order(accession, step_id)
    if control == "SC":
        status = text(group, "ORC", 5, 1)
        if status not in _STATUSES:
            words = f"order status {status[:10]!a} means nothing here"
            raise Rejected("AE", words, "ORC-5", ErrorCode.TABLE_VALUE_NOT_FOUND)
        return Order(accession, step_id, status=_STATUSES[status])
    if control not in _SCHEDULED:
        words = f"order control {control[:10]!a} means nothing here"
        raise Rejected("AE", words, "ORC-1", ErrorCode.TABLE_VALUE_NOT_FOUND)
    start = first(group, ("TQ1", 7)) or text(group, "ORC", 7, 4) or text(group, "OBR", 27, 4)
    start = start or first(group, ("OBR", 36)) or text(message, "MSH", 7, 1)
    modality = first(group, ("IPC", 5), ("OBR", 24))
    if not modality:
        words = "order has no modality: neither IPC-5 nor OBR-24"
        raise Rejected("AE", words, "OBR-24", ErrorCode.REQUIRED_FIELD_MISSING)
    if len(start) < 8:
        words = "order has no date: neither TQ1-7, ORC-7 nor OBR-27"
        raise Rejected("AE", words, "TQ1-7", ErrorCode.REQUIRED_FIELD_MISSING)
    step = DataSet()
    step.put("ScheduledStationAETitle", first(group, ("IPC", 9)) or stations.get(modality, modality))
    step.put("ScheduledProcedureStepStartDate", start[:8])
    step.put("ScheduledProcedureStepStartTime", start[8:14].split("+")[0].split("-")[0] or "000000")
    step.put("Modality", modality)
    step.put("ScheduledPerformingPhysicianName", name(group, "OBR", 34, at=1))
    step.put("ScheduledProcedureStepDescription", text(group, "OBR", 4, 5) or text(group, "OBR", 4, 2))
    step.put("ScheduledProcedureStepID", step_id)
    step.put("ScheduledStationName", text(group, "IPC", 7, 1))
    step.put("ScheduledProcedureStepLocation", text(group, "IPC", 8, 1))
    if coded := _code(group, "IPC", 6) or _code(group, "OBR", 4, 3):
        step.put("ScheduledProtocolCodeSequence", coded)
    item = DataSet(patient).put(STEP, step)
    item.put("AccessionNumber", accession).put("RequestedProcedureID", procedure)
    item.put("RequestedProcedureDescription", text(group, "OBR", 44, 2) or text(group, "OBR", 4, 2))
    if coded := _code(group, "OBR", 44) or _code(group, "OBR", 4):
        item.put("RequestedProcedureCodeSequence", coded)
    item.put("RequestingPhysician", name(group, "OBR", 16, at=1) or name(group, "ORC", 12, at=1))
    priority = first(group, ("TQ1", 9)) or text(group, "ORC", 7, 6) or text(group, "OBR", 27, 6)
    item.put("RequestedProcedurePriority", _PRIORITIES.get(priority[:1].upper(), ""))
    item.put("PatientTransportArrangements", text(group, "OBR", 30, 1))
    uid = first(group, ("IPC", 3), ("ZDS", 1)) or first(message, ("ZDS", 1))
    if uid and not is_valid_uid(uid):
        words = f"Study Instance UID {uid[:20]!a} is no UID"
        raise Rejected("AE", words, "ZDS-1", ErrorCode.DATA_TYPE)
    sender = "/".join(text(message, "MSH", number, 1) for number in (3, 4))
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


def _code(message: hl7.Message, segment: str, number: int, skipped: int = 0) -> DataSet | None:
    """A coded element as an item of a code sequence."""
    value, meaning, scheme = (text(message, segment, number, skipped + n) for n in (1, 2, 3))
    if not value:
        return None
    item = DataSet().put("CodeValue", value[:16]).put("CodingSchemeDesignator", (scheme or "L")[:16])
    return item.put("CodeMeaning", meaning or value)
