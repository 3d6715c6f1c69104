"""Matches of a search as DICOM JSON objects (PS3.18 10.6.3.3, F).

Each has, in ascending tags, what the tables of 10.6.3.3 require, the attributes that were matched, and those
of `includefield`.
"""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Final, TypeAlias

from dicomwire.archive.attributes import LEVELS
from dicomwire.archive.catalogue import Row
from dicomwire.archive.query import Level
from dicomwire.archive.search import Found
from dicomwire.archive.statement import Field, Plan
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.json_model import attribute
from dicomwire.web.resources import study_url
from dicomwire.web.search_query import Asked

Members: TypeAlias = list[tuple[int, str]]


def _tags(*keywords: str) -> tuple[int, ...]:
    return tuple(TAGS[keyword] for keyword in keywords)


REQUIRED: Final = {
    Level.STUDY: _tags(
        *("StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName"),
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID"),
        *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    ),
    Level.SERIES: _tags("Modality", "SeriesInstanceUID", "SeriesNumber", "NumberOfSeriesRelatedInstances"),
    Level.INSTANCE: _tags("SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
}
"""Attributes that are always present (PS3.18 Tables 10.6.3-3 to 10.6.3-5, types R and U)."""

KNOWN: Final = {
    Level.STUDY: _tags("TimezoneOffsetFromUTC"),
    Level.SERIES: _tags(
        *("TimezoneOffsetFromUTC", "SeriesDescription", "PerformedProcedureStepStartDate"),
        *("PerformedProcedureStepStartTime", "RequestAttributesSequence"),
    ),
    Level.INSTANCE: _tags("TimezoneOffsetFromUTC", "Rows", "Columns", "BitsAllocated", "NumberOfFrames"),
}
"""Attributes that are present if known (type C)."""

_STUDY_UID, _SERIES_UID, _INSTANCE_UID = _tags("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_AVAILABILITY, _URL = _tags("InstanceAvailability", "RetrieveURL")
_UIDS: Final = {Level.STUDY: _STUDY_UID, Level.SERIES: _SERIES_UID, Level.INSTANCE: _INSTANCE_UID}
_COUNTS_OF_PATIENT: Final = frozenset(
    _tags("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")
)


def fields_of(asked: Asked, level: Level, levels: Sequence[Level]) -> tuple[int, ...]:
    """Tags of the attributes to be read for each match; levels: those in the answer."""
    wanted = {tag for each in levels for tag in (*REQUIRED[each], *KNOWN[each])} | asked.fields
    wanted |= {uid for each, uid in _UIDS.items() if each <= level}
    if asked.everything:
        of = {*levels, Level.PATIENT} if Level.STUDY in levels else {*levels}
        wanted |= {tag for tag, each in LEVELS.items() if each in of} - _COUNTS_OF_PATIENT
    return tuple(sorted(wanted - {SPECIFIC_CHARACTER_SET, _AVAILABILITY}))


class Payload:
    """Matches of one answer as DICOM JSON objects; a study and a series are made once for all their rows."""

    def __init__(self, asked: Asked, plan: Plan, base: str, levels: Sequence[Level]) -> None:
        self._base = base
        fields = list(plan.fields.values())
        present = {tag for level in levels for tag in REQUIRED[level]} | asked.fields
        empty = {tag: f'"{tag:08X}":{attribute(_vr(tag))}' for tag in present}
        empty[_AVAILABILITY] = f'"{_AVAILABILITY:08X}":{attribute("CS", ("ONLINE",))}'
        order = sorted({*empty, *(field.tag for each in fields for field in each), _URL})
        self._empty = [empty.get(tag, "") for tag in order]
        self._slots = {tag: slot for slot, tag in enumerate(order)}
        self._columns = [[(self._slots[field.tag], _head(field), field) for field in each] for each in fields]
        self._uids = [
            next(at for at, field in enumerate(each) if field.tag == uid)
            for each, uid in zip(fields, _UIDS.values(), strict=False)
        ]
        self._known: list[tuple[Row, Members] | None] = [None] * len(fields)
        self._above: tuple[Row, str] | None = None

    def encode(self, found: Found) -> str:
        """One match."""
        rows = (found.study, found.series, found.instance)
        members = self._empty.copy()
        for depth, columns in enumerate(self._columns):
            row, known = rows[depth], self._known[depth]
            if known is None or known[0] is not row:
                known = self._known[depth] = row, _members(columns, row)
            for slot, text in known[1]:
                members[slot] = text
        members[self._slots[_URL]] = f'"00081190":{{"vr":"UR","Value":["{self._url(rows)}"]}}'
        return "{" + ",".join(filter(None, members)) + "}"

    def _url(self, rows: Sequence[Row]) -> str:
        study, *below = (str(row[at]) for row, at in zip(rows, self._uids, strict=False))
        if not below:
            return study_url(self._base, study)
        if self._above is None or self._above[0] is not rows[0]:
            self._above = rows[0], f"{study_url(self._base, study)}/series/"
        return self._above[1] + "/instances/".join(below)


def _head(field: Field) -> str:
    """What stands before the one value of an attribute."""
    return f'"{field.tag:08X}":{{"vr":"{field.vr}","Value":['


def _members(columns: Sequence[tuple[int, str, Field]], row: Row) -> Members:
    """The attributes that a row has values of, each with its place in the object."""
    members = []
    for (slot, head, field), value in zip(columns, row, strict=True):
        if value is None or value == "":
            continue
        if isinstance(value, int):
            text = f"{head}{value}]}}"
        elif field.json:
            text = f'"{field.tag:08X}":{value}'
        elif field.vr == "PN" or "\\" in str(value):
            values = str(value).split("\\")
            text = f'"{field.tag:08X}":{attribute(field.vr, values)}'
        else:
            text = f"{head}{encode_basestring(str(value))}]}}"
        members.append((slot, text))
    return members


def _vr(tag: int) -> str:
    return vr_of(tag).split(" ")[0]
