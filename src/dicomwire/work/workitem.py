"""Workitems, as their rows have them, and how they are searched (PS3.4 CC.2.8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dicomwire.archive.matching import Condition
from dicomwire.archive.query import Query
from dicomwire.dicom.data_set import DataSet, from_json
from dicomwire.work.matching import Selection, Table, column, name_column, path_of, select
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Reader, Row
from dicomwire.work.ups_rules import WORDS, State

GLOBAL: Final = "1.2.840.10008.5.1.4.34.5"
FILTERED: Final = "1.2.840.10008.5.1.4.34.5.1"
"""Well-known instances that stand for all workitems, and for all that match."""

SELECT: Final = (
    "SELECT id, sop_instance_uid, state, transaction_uid, attributes, created, changed FROM workitem"
)

TABLE: Final = Table(
    "workitem",
    {
        path_of("SOPInstanceUID"): column("workitem", "sop_instance_uid"),
        path_of("ProcedureStepState"): column("workitem", "state", "workitem_state_start"),
        path_of("ScheduledProcedureStepPriority"): column("workitem", "priority"),
        path_of("ProcedureStepLabel"): column("workitem", "label"),
        path_of("WorklistLabel"): column("workitem", "worklist_label", "workitem_worklist_label"),
        path_of("ScheduledProcedureStepStartDateTime"): column("workitem", "start", "workitem_start"),
        path_of("PatientID"): column("workitem", "patient_id", "workitem_patient_id"),
        path_of("PatientName"): name_column("workitem", "patient_name", "workitem_name"),
    },
    {},
    "workitem.start, workitem.id",
)


@dataclass(frozen=True, slots=True)
class Workitem:
    """A Unified Procedure Step as it stands.

    Attributes:
        transaction_uid: the performer's, "" before it has one; never disclosed.
        changed: seconds since 1970.
    """

    id: int
    sop_instance_uid: str
    state: State
    transaction_uid: str = field(repr=False)
    attributes: DataSet = field(repr=False)
    created: float
    changed: float


def workitem_of(row: Row) -> Workitem:
    """A workitem from its columns."""
    number, uid, state, transaction_uid, attributes, created, changed = row
    return Workitem(
        int(str(number)),
        str(uid),
        State(state),
        str(transaction_uid),
        from_json(str(attributes)),
        float(str(created)),
        float(str(changed)),
    )


def find(reader: Reader, sop_instance_uid: str) -> Workitem:
    """One workitem. Raises: Refused, UPS_UNKNOWN; UPS_GONE, where there was one."""
    rows = reader.rows(f"{SELECT} WHERE sop_instance_uid = ?", (sop_instance_uid,))
    if rows:
        return workitem_of(rows[0])
    gone = reader.rows("SELECT 1 FROM workitem_gone WHERE sop_instance_uid = ?", (sop_instance_uid,))
    reason = Reason.UPS_GONE if gone else Reason.UPS_UNKNOWN
    raise Refused(reason, WORDS[reason])


def selection(query: Query, also: Condition | None = None) -> Selection:
    """How to search the workitems. Raises: QueryError."""
    return select(TABLE, query, also)
