"""Matches of a search as DICOM JSON objects (PS3.18 10.6.3.3, F).

Each has, in ascending tags, what the tables of 10.6.3.3 require, the attributes that were matched, and those
of `includefield`.
"""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring
from operator import is_not
from typing import Final

from dicomwire.archive.attributes import LEVELS
from dicomwire.archive.catalogue import Row
from dicomwire.archive.query import Level
from dicomwire.archive.search import Found
from dicomwire.archive.statement import Field, Plan
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.json_model import attribute
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
_RESOURCES: Final = ("studies", "series", "instances")
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
    """Matches of one answer as DICOM JSON objects.

    What a study and a series tell is the same in all rows below them, and made once: of each row only its own
    attributes are written, into the places between.
    """

    def __init__(self, asked: Asked, plan: Plan, base: str, levels: Sequence[Level]) -> None:
        self._base = base
        fields = list(plan.fields.values())
        present = {tag for level in levels for tag in REQUIRED[level]} | asked.fields
        self._empty = {tag: f'"{tag:08X}":{attribute(_vr(tag))}' for tag in present}
        self._empty[_AVAILABILITY] = f'"{_AVAILABILITY:08X}":{attribute("CS", ("ONLINE",))}'
        *self._above, own = [[_Column(field) for field in each] for each in fields]
        self._order = sorted({*self._empty, *(field.tag for each in fields for field in each), _URL})
        self._varying = [tag for tag in self._order if tag == _URL or any(each.tag == tag for each in own)]
        places = {tag: 2 * number + 1 for number, tag in enumerate(self._varying)}
        self._own = [(places[column.tag], column) for column in own]
        self._url = places[_URL]
        self._uids = [
            next(at for at, field in enumerate(each) if field.tag == uid)
            for each, uid in zip(fields, _UIDS.values(), strict=False)
        ]
        self._rows: list[Row] | None = None  # study and series that the template is for
        self._template: list[
            str
        ] = []  # what does not vary, and in between, at odd places, what does if empty
        self._path = ""  # URL of what is above a row

    def encode(self, found: Found) -> str:
        """One match."""
        *above, own = (found.study, found.series, found.instance)[: len(self._above) + 1]
        if self._rows is None or any(map(is_not, above, self._rows)):
            self._begin(above)
        parts = self._template.copy()
        for (place, column), value in zip(self._own, own, strict=True):
            if value is not None and value != "":
                parts[place] = column.member(value)
        parts[self._url] = f'"00081190":{{"vr":"UR","Value":["{self._path}{own[self._uids[-1]]}"]}}'
        return "{" + ",".join(filter(None, parts)) + "}"

    def _begin(self, above: list[Row]) -> None:
        """The template for the rows below a study or a series."""
        members = self._empty.copy()
        for columns, row in zip(self._above, above, strict=True):
            for column, value in zip(columns, row, strict=True):
                if value is not None and value != "":
                    members[column.tag] = column.member(value)
        self._template = []
        constant: list[str] = []
        for tag in self._order:
            text = members.get(tag, "")
            if tag in self._varying:
                self._template += (",".join(constant), text)
                constant = []
            elif text:
                constant.append(text)
        self._template.append(",".join(constant))
        self._rows = above
        uids = (str(row[at]) for row, at in zip(above, self._uids, strict=False))
        self._path = self._base + "".join(
            f"/{name}/{uid}" for name, uid in zip(_RESOURCES, uids, strict=False)
        )
        self._path += f"/{_RESOURCES[len(above)]}/"


class _Column:
    """One attribute of a row."""

    __slots__ = ("_field", "_head", "tag")

    def __init__(self, field: Field) -> None:
        self.tag = field.tag
        self._field = field
        self._head = f'"{field.tag:08X}":{{"vr":"{field.vr}","Value":['

    def member(self, value: object) -> str:
        """The member of a DICOM JSON object that a value is, which is not empty."""
        if isinstance(value, int):
            return f"{self._head}{value}]}}"
        text = str(value)
        if self._field.json:
            return f'"{self.tag:08X}":{text}'
        if self._field.vr == "PN" or "\\" in text:
            values = text.split("\\")
            return f'"{self.tag:08X}":{attribute(self._field.vr, values)}'
        return f"{self._head}{encode_basestring(text)}]}}"


def _vr(tag: int) -> str:
    return vr_of(tag).split(" ")[0]
