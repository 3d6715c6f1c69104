"""Matches of a search as DICOM JSON objects (PS3.18 10.6.3.3, F).

Each has, in ascending tags, what the tables of 10.6.3.3 require, the attributes that were matched, and those
of `includefield`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dicomwire.archive.attributes import LEVELS
from dicomwire.archive.catalogue import Row
from dicomwire.archive.query import Level
from dicomwire.archive.search import Found
from dicomwire.archive.statement import Field, Plan
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.json_model import attribute
from dicomwire.web.resources import instance_url, study_url
from dicomwire.web.search_query import Asked


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
        self._fields = list(plan.fields.values())
        present = {tag for level in levels for tag in REQUIRED[level]} | asked.fields
        self._empty = {tag: _named(tag, attribute(_vr(tag))) for tag in present}
        self._empty[_AVAILABILITY] = _named(_AVAILABILITY, attribute("CS", ("ONLINE",)))
        known = {field.tag for fields in self._fields for field in fields}
        self._order = sorted({*self._empty, *known, _URL})
        self._uids = [
            next(at for at, field in enumerate(fields) if field.tag == uid)
            for fields, uid in zip(self._fields, _UIDS.values(), strict=False)
        ]
        self._known: list[tuple[Row, dict[int, str]] | None] = [None] * len(self._fields)

    def encode(self, found: Found) -> str:
        """One match."""
        rows = (found.study, found.series, found.instance)
        members = self._empty.copy()
        for depth, fields in enumerate(self._fields):
            row, known = rows[depth], self._known[depth]
            if known is None or known[0] is not row:
                known = self._known[depth] = row, _members(fields, row)
            members |= known[1]
        members[_URL] = f'"00081190":{{"vr":"UR","Value":["{self._url(rows)}"]}}'
        return "{" + ",".join([members[tag] for tag in self._order if tag in members]) + "}"

    def _url(self, rows: Sequence[Row]) -> str:
        uids = [str(row[at]) for row, at in zip(rows, self._uids, strict=False)]
        if len(uids) == 3:
            return instance_url(self._base, study=uids[0], series=uids[1], instance=uids[2])
        url = study_url(self._base, uids[0])
        return f"{url}/series/{uids[1]}" if len(uids) == 2 else url


def _members(fields: tuple[Field, ...], row: Row) -> dict[int, str]:
    """The attributes that a row has values of, each with its tag."""
    members = {}
    for field, value in zip(fields, row, strict=True):
        if value is None or value == "":
            continue
        if field.json:
            text = str(value)
        elif isinstance(value, int):
            text = f'{{"vr":"{field.vr}","Value":[{value}]}}'
        else:
            text = attribute(field.vr, str(value).split("\\"))
        members[field.tag] = f'"{field.tag:08X}":{text}'
    return members


def _named(tag: int, text: str) -> str:
    return f'"{tag:08X}":{text}'


def _vr(tag: int) -> str:
    return vr_of(tag).split(" ")[0]
