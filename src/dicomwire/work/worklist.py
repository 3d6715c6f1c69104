"""Modality Worklist: scheduled procedure steps, one item each (PS3.4 K.6, PS3.3 C.4.10-C.4.15).

Items come by the web, by files and by HL7. An item is known by its study and its Scheduled Procedure Step ID.
A performed procedure step (MPPS) that names it marks it; which marks are still shown is the asker's option.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed_to
from typing import Final

from dicomwire.archive.matching import Condition, bounds, padded
from dicomwire.archive.names import groups, vocabulary
from dicomwire.archive.query import Query
from dicomwire.dicom.data_set import UTF_8, DataSet, from_json, tag_of, texts_of, to_json
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.errors import QueryError
from dicomwire.uids import is_valid_uid
from dicomwire.work.attributes import Rule, checked
from dicomwire.work.matching import Members, Selection, Table, column, name_column, path_of, select
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Reader, Transaction
from dicomwire.work.worklist_keys import STEP

TOPIC: Final = "worklist"
"""Notified when items have changed."""

_START_DATE: Final = path_of(STEP, "ScheduledProcedureStepStartDate")
_START_TIME: Final = path_of(STEP, "ScheduledProcedureStepStartTime")

TABLE: Final = Table(
    "worklist",
    {
        _START_DATE: column("worklist", "start_date", "worklist_start"),
        _START_TIME: column("worklist", "start_time"),
        path_of(STEP, "Modality"): column("worklist", "modality", "worklist_modality"),
        path_of(STEP, "ScheduledProcedureStepID"): column("worklist", "step_id", "worklist_step_id"),
        path_of("StudyInstanceUID"): column("worklist", "study_instance_uid", "worklist_step"),
        path_of("PatientID"): column("worklist", "patient_id", "worklist_patient_id"),
        path_of("PatientName"): name_column("worklist", "patient_name", "worklist_name"),
        path_of("AccessionNumber"): column("worklist", "accession_number", "worklist_accession_number"),
        path_of("RequestedProcedureID"): column(
            "worklist", "requested_procedure_id", "worklist_requested_procedure_id"
        ),
    },
    {path_of(STEP, "ScheduledStationAETitle"): Members("worklist_station", "ae_title", "item")},
    "worklist.start_date, worklist.start_time, worklist.id",
)

# The attributes of types 1 and 2 of an item that comes in (PS3.4 Table K.6-1)
RULES: Final = (
    Rule(
        STEP,
        "1",
        (
            Rule("ScheduledStationAETitle", "1"),
            Rule("ScheduledProcedureStepStartDate", "1"),
            Rule("ScheduledProcedureStepStartTime", "1"),
            Rule("Modality", "1"),
            Rule("ScheduledPerformingPhysicianName", "2"),
            Rule("ScheduledProcedureStepID", "1"),
        ),
    ),
    Rule("RequestedProcedureID", "1"),
    Rule("StudyInstanceUID", "1"),
    Rule("ReferencedStudySequence", "2"),
    Rule("RequestedProcedurePriority", "2"),
    Rule("PatientTransportArrangements", "2"),
    Rule("AccessionNumber", "2"),
    Rule("RequestingPhysician", "2"),
    Rule("ReferringPhysicianName", "2"),
    Rule("AdmissionID", "2"),
    Rule("CurrentPatientLocation", "2"),
    Rule("ReferencedPatientSequence", "2"),
    Rule("PatientName", "1"),
    Rule("PatientID", "1"),
    Rule("PatientBirthDate", "2"),
    Rule("PatientSex", "2"),
    Rule("PatientWeight", "2"),
    Rule("ConfidentialityConstraintOnPatientDataDescription", "2"),
    Rule("PatientState", "2"),
    Rule("PregnancyStatus", "2"),
    Rule("MedicalAlerts", "2"),
    Rule("Allergies", "2"),
    Rule("SpecialNeeds", "2"),
)

STATUS_OF: Final[Mapping[str, str]] = {
    "IN PROGRESS": "STARTED",
    "COMPLETED": "COMPLETED",
    "DISCONTINUED": "DISCONTINUED",
}
"""Scheduled Procedure Step Status (0040,0020) by Performed Procedure Step Status."""

_SELECT: Final = "SELECT id, ae_title, source, performed, attributes, changed, character_set FROM worklist"


@dataclass(frozen=True, slots=True)
class Item:
    """One scheduled procedure step.

    Attributes:
        ae_title: for whom who calls this title; "" for all.
        source: what it came from: "web", "hl7", or a file's path.
        performed: status of the procedure step that was performed for it, "" before.
        character_set: Specific Character Set that its text is answered in unless another is asked for.
    """

    id: int
    ae_title: str
    source: str
    performed: str
    attributes: DataSet = field(repr=False)
    changed: float
    character_set: str

    @property
    def step(self) -> DataSet:
        """Its scheduled procedure step."""
        return self.attributes.sequence(STEP)[0]


def item_of(row: Sequence[object]) -> Item:
    """An item from its columns."""
    number, ae_title, source, performed, attributes, changed, character_set = row
    return Item(
        int(str(number)),
        str(ae_title),
        str(source),
        str(performed),
        from_json(str(attributes)),
        float(str(changed)),
        str(character_set),
    )


def items_of(attributes: DataSet) -> list[DataSet]:
    """The items that a data set stands for, one for each of its scheduled procedure steps, complete.

    Raises: Refused: MISSING_ATTRIBUTE, MISSING_VALUE, or INVALID_VALUE.
    """
    complete = checked(attributes, RULES)
    if not is_valid_uid(complete.text("StudyInstanceUID")):
        uid = tag_of("StudyInstanceUID")
        raise Refused(Reason.INVALID_VALUE, "StudyInstanceUID is no UID", (uid,))
    try:
        for step in complete.sequence(STEP):
            bounds(step.text("ScheduledProcedureStepStartDate"), _START_DATE, "YYYYMMDD")
            bounds(step.text("ScheduledProcedureStepStartTime"), _START_TIME, "HHMMSS")
    except QueryError as error:
        tags = (_START_DATE[-1], _START_TIME[-1])
        raise Refused(Reason.INVALID_VALUE, "Start date or time is none", tags) from error
    return [DataSet(complete).put(STEP, step) for step in complete.sequence(STEP)]


def add(
    transaction: Transaction, attributes: DataSet, *, source: str, now: float, ae_title: str = ""
) -> list[int]:
    """Add the items that a data set stands for.

    Returns: their ids. Raises: Refused: as `items_of`, and DUPLICATE_INSTANCE.
    """
    ids = []
    for item in items_of(attributes):
        if _found(transaction, item):
            words = "There is an item with this study and step ID"
            raise Refused(Reason.DUPLICATE_INSTANCE, words, (tag_of("ScheduledProcedureStepID"),))
        ids.append(_insert(transaction, item, source, ae_title, now))
    return ids


def put(
    transaction: Transaction, attributes: DataSet, *, source: str, now: float, ae_title: str = ""
) -> list[int]:
    """Add the items that a data set stands for, or put them in the place of those with their study and step.

    Returns: their ids. Raises: Refused, as `items_of`.
    """
    ids = []
    for item in items_of(attributes):
        known = _found(transaction, item)
        if known is None:
            ids.append(_insert(transaction, item, source, ae_title, now))
        else:
            _update(transaction, known.id, item, known.performed, source, ae_title, now)
            ids.append(known.id)
    return ids


def replace(transaction: Transaction, number: int, attributes: DataSet, *, now: float) -> None:
    """Put another item in the place of one. Raises: Refused, as `items_of`, `find` and `add`."""
    known = find(transaction, number)
    items = items_of(attributes)
    if len(items) != 1:
        raise Refused(Reason.INVALID_VALUE, "One scheduled procedure step wanted", (tag_of(STEP),))
    other = _found(transaction, items[0])
    if other is not None and other.id != number:
        raise Refused(Reason.DUPLICATE_INSTANCE, "There is an item with this study and step ID")
    _update(transaction, number, items[0], known.performed, known.source, known.ae_title, now)


def remove(transaction: Transaction, number: int) -> None:
    """Remove an item. Raises: Refused, NO_SUCH_INSTANCE."""
    if not transaction.count("DELETE FROM worklist WHERE id = ?", (number,)):
        raise Refused(Reason.NO_SUCH_INSTANCE, "There is no such worklist item")
    transaction.notify(TOPIC)


def forget(transaction: Transaction, source: str) -> int:
    """Remove what came from a source; how many."""
    transaction.notify(TOPIC)
    return transaction.count("DELETE FROM worklist WHERE source = ?", (source,))


def find(reader: Reader, number: int) -> Item:
    """One item. Raises: Refused, NO_SUCH_INSTANCE."""
    rows = reader.rows(f"{_SELECT} WHERE id = ?", (number,))
    if not rows:
        raise Refused(Reason.NO_SUCH_INSTANCE, "There is no such worklist item")
    return item_of(rows[0])


def ordered(reader: Reader, keyword: str, value: str) -> list[Item]:
    """Items of an order. keyword: AccessionNumber, RequestedProcedureID or ScheduledProcedureStepID."""
    names = {
        "AccessionNumber": "accession_number",
        "RequestedProcedureID": "requested_procedure_id",
        "ScheduledProcedureStepID": "step_id",
    }
    rows = reader.rows(f"{_SELECT} WHERE {names[keyword]} = ? ORDER BY id", (value,))
    return [item_of(row) for row in rows]


def performed(transaction: Transaction, steps: Iterable[tuple[str, str]], status: str, now: float) -> None:
    """Mark the items that a performed procedure step belongs to.

    steps: study and Scheduled Procedure Step ID of each.
    status: Performed Procedure Step Status.
    """
    for study, step_id in steps:
        sql = f"{_SELECT} WHERE study_instance_uid = ? AND step_id = ?"
        for row in transaction.rows(sql, (study, step_id)):
            item = item_of(row)
            step = DataSet(item.step).put("ScheduledProcedureStepStatus", STATUS_OF.get(status, status))
            attributes = DataSet(item.attributes).put(STEP, step)
            transaction.rows(
                "UPDATE worklist SET performed = ?, attributes = ?, changed = ? WHERE id = ?",
                (status, to_json(attributes), now, item.id),
            )
            transaction.notify(TOPIC)


def selection(query: Query, *, called_ae_title: str = "", hidden: Sequence[str] = ()) -> Selection:
    """How to search the worklist.

    called_ae_title: only what is for everybody or for this title is found, unless nothing is for it.
    hidden: statuses of performed procedure steps whose items are not found.
    Raises: QueryError.
    """
    parts = []
    if hidden:
        marks = ", ".join("?" * len(hidden))
        parts.append(Condition(f"worklist.performed NOT IN ({marks})", tuple(hidden)))
    if called_ae_title:
        sql = (
            "worklist.ae_title IN ('', ?)"
            " OR NOT EXISTS (SELECT 1 FROM worklist AS other WHERE other.ae_title = ?)"
        )
        parts.append(Condition(sql, (called_ae_title, called_ae_title)))
    values = {match.path: match.value for match in query.matches}
    days, times = values.get(_START_DATE, ""), values.get(_START_TIME, "")
    if "-" in days and "-" in times:
        parts.append(_period(days, times))
        matches = [match for match in query.matches if match.path != _START_TIME]
        query = changed_to(query, matches=tuple(matches))
    sql = " AND ".join(f"({part.sql})" for part in parts) or "1"
    also = Condition(sql, tuple(value for part in parts for value in part.parameters))
    return select(TABLE, query, also)


def _period(days: str, times: str) -> Condition:
    """Ranges of date and time are one range of both (PS3.4 Table K.6-1, remark on the Start Time)."""
    first_day, last_day = bounds(days, _START_DATE, "YYYYMMDD")
    first_time, last_time = bounds(times, _START_TIME, "HHMMSS.FFFFFF")
    moment = f"worklist.start_date || {padded('worklist.start_time')}"
    sql, parameters = ["1"], list[str]()
    if first_day and first_time:
        sql.append(f"{moment} >= ?")
        parameters.append(first_day[0] + first_time[0])
    if last_day and last_time:
        sql.append(f"{moment} <= ?")
        parameters.append(last_day[1] + last_time[1])
    return Condition(" AND ".join(sql), tuple(parameters))


def _found(reader: Reader, item: DataSet) -> Item | None:
    sql = f"{_SELECT} WHERE study_instance_uid = ? AND step_id = ?"
    step = item.sequence(STEP)[0]
    rows = reader.rows(sql, (item.text("StudyInstanceUID"), step.text("ScheduledProcedureStepID")))
    return item_of(rows[0]) if rows else None


def _insert(transaction: Transaction, item: DataSet, source: str, ae_title: str, now: float) -> int:
    columns = _columns(item) | {
        "ae_title": ae_title,
        "source": source,
        "performed": "",
        "changed": now,
    }
    marks = ", ".join("?" * len(columns))
    row = transaction.row(
        f"INSERT INTO worklist ({', '.join(columns)}) VALUES ({marks}) RETURNING id", tuple(columns.values())
    )
    assert row is not None
    number = int(str(row[0]))
    _station(transaction, number, item)
    transaction.notify(TOPIC)
    return number


def _update(
    transaction: Transaction,
    number: int,
    item: DataSet,
    performed: str,
    source: str,
    ae_title: str,
    now: float,
) -> None:
    if performed:
        step = DataSet(item.sequence(STEP)[0])
        item = DataSet(item).put(
            STEP, step.put("ScheduledProcedureStepStatus", STATUS_OF.get(performed, performed))
        )
    columns = _columns(item) | {"source": source, "ae_title": ae_title, "changed": now}
    names = ", ".join(f"{name} = ?" for name in columns)
    transaction.rows(f"UPDATE worklist SET {names} WHERE id = ?", (*columns.values(), number))
    _station(transaction, number, item)
    transaction.notify(TOPIC)


def _station(transaction: Transaction, number: int, item: DataSet) -> None:
    transaction.rows("DELETE FROM worklist_station WHERE item = ?", (number,))
    for ae_title in item.sequence(STEP)[0].texts("ScheduledStationAETitle"):
        transaction.rows("INSERT OR IGNORE INTO worklist_station VALUES (?, ?)", (ae_title.strip(), number))


def _columns(item: DataSet) -> dict[str, str | float]:
    step, name = item.sequence(STEP)[0], item.text("PatientName")
    alphabetic, ideographic, phonetic = groups(name)
    return {
        "study_instance_uid": item.text("StudyInstanceUID"),
        "step_id": step.text("ScheduledProcedureStepID").strip(),
        "start_date": step.text("ScheduledProcedureStepStartDate").replace(".", ""),
        "start_time": step.text("ScheduledProcedureStepStartTime").strip(),
        "modality": step.text("Modality").strip(),
        "patient_id": item.text("PatientID").strip(),
        "patient_name": name,
        "patient_name_key": alphabetic,
        "patient_name_ideographic": ideographic,
        "patient_name_phonetic": phonetic,
        "patient_name_words": vocabulary(name),
        "accession_number": item.text("AccessionNumber").strip(),
        "requested_procedure_id": item.text("RequestedProcedureID").strip(),
        "character_set": _character_set(item),
        "attributes": to_json(item),
    }


def _character_set(item: DataSet) -> str:
    """The item's own character set; else the simplest one that says its text."""
    named = "\\".join(item.texts(SPECIFIC_CHARACTER_SET))
    if named and named != UTF_8:
        return named
    texts = list(texts_of(item))
    if all(text.isascii() for text in texts):
        return ""
    try:
        "".join(texts).encode("latin_1")
    except UnicodeEncodeError:
        return UTF_8
    return "ISO_IR 100"
