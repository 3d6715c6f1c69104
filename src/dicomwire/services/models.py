"""Query/Retrieve information models for whoever asks: SOP classes, levels, keys (PS3.4 C.3, C.6, K.6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.identifier import QUERY_RETRIEVE_LEVEL, Key
from dicomwire.dicom.indexed import IMAGE, INSTANCE, PATIENT, SERIES, STUDY
from dicomwire.errors import QueryError


class Level(IntEnum):
    """Query/Retrieve levels from the top; the names are the values of (0008,0052)."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3


@dataclass(frozen=True, slots=True)
class Model:
    """SOP classes of one information model; "" where it has none for the operation.

    Attributes:
        levels: that it has; none for a worklist, whose identifiers name no level.
    """

    name: str
    find: str
    move: str = ""
    get: str = ""
    levels: tuple[Level, ...] = ()


class Root(Enum):
    """Information models that a query can be put to."""

    PATIENT = Model(
        "Patient Root",
        "1.2.840.10008.5.1.4.1.2.1.1",
        "1.2.840.10008.5.1.4.1.2.1.2",
        "1.2.840.10008.5.1.4.1.2.1.3",
        tuple(Level),
    )
    STUDY = Model(
        "Study Root",
        "1.2.840.10008.5.1.4.1.2.2.1",
        "1.2.840.10008.5.1.4.1.2.2.2",
        "1.2.840.10008.5.1.4.1.2.2.3",
        (Level.STUDY, Level.SERIES, Level.IMAGE),
    )
    PATIENT_STUDY_ONLY = Model(
        "Patient/Study Only",
        "1.2.840.10008.5.1.4.1.2.3.1",
        "1.2.840.10008.5.1.4.1.2.3.2",
        "1.2.840.10008.5.1.4.1.2.3.3",
        (Level.PATIENT, Level.STUDY),
    )
    WORKLIST = Model("Modality Worklist", "1.2.840.10008.5.1.4.31")


UNIQUE_KEYS: Final = {
    Level.PATIENT: TAGS["PatientID"],
    Level.STUDY: TAGS["StudyInstanceUID"],
    Level.SERIES: TAGS["SeriesInstanceUID"],
    Level.IMAGE: TAGS["SOPInstanceUID"],
}

_LEVEL: Final = (QUERY_RETRIEVE_LEVEL,)
_COUNTED: Final = {
    Level.PATIENT: "NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries "
    "NumberOfPatientRelatedInstances",
    Level.STUDY: "NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances ModalitiesInStudy "
    "SOPClassesInStudy AnatomicRegionsInStudyCodeSequence",
    Level.SERIES: "NumberOfSeriesRelatedInstances",
    Level.IMAGE: "AvailableTransferSyntaxUID",
}
_LEVELS: Final = {
    TAGS[keyword]: level
    for level, keywords in (
        (Level.IMAGE, (*INSTANCE, *IMAGE)),
        (Level.SERIES, SERIES),
        (Level.STUDY, STUDY),
        (Level.PATIENT, PATIENT),
        *((level, tuple(keywords.split())) for level, keywords in _COUNTED.items()),
    )
    for keyword in keywords
}

# What people want to see where they name nothing.
_SHOWN: Final = {
    Level.PATIENT: ("PatientName PatientID PatientBirthDate PatientSex NumberOfPatientRelatedStudies"),
    Level.STUDY: (
        "PatientName PatientID StudyDate StudyTime AccessionNumber ModalitiesInStudy StudyDescription "
        "NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances StudyInstanceUID"
    ),
    Level.SERIES: (
        "Modality SeriesNumber SeriesDescription NumberOfSeriesRelatedInstances StudyInstanceUID "
        "SeriesInstanceUID"
    ),
    Level.IMAGE: "InstanceNumber SOPClassUID StudyInstanceUID SeriesInstanceUID SOPInstanceUID",
}
_STEP: Final = TAGS["ScheduledProcedureStepSequence"]
_WORKLIST: Final = (
    *((TAGS[keyword],) for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")),
    *((TAGS[keyword],) for keyword in ("AccessionNumber", "RequestedProcedureID")),
    *((TAGS[keyword],) for keyword in ("RequestedProcedureDescription", "StudyInstanceUID")),
    *(
        (_STEP, TAGS[keyword])
        for keyword in (
            "ScheduledProcedureStepStartDate",
            "ScheduledProcedureStepStartTime",
            "Modality",
            "ScheduledStationAETitle",
            "ScheduledPerformingPhysicianName",
            "ScheduledProcedureStepDescription",
            "ScheduledProcedureStepID",
        )
    ),
)


def level_named(text: str) -> Level:
    """Read a level, whatever its case; INSTANCE is another word for IMAGE.

    Raises: QueryError.
    """
    name = text.strip().upper()
    if name == "INSTANCE":
        return Level.IMAGE
    if name not in Level.__members__:
        raise QueryError(f"{text!r} is no level; levels are {', '.join(Level.__members__)}")
    return Level[name]


def root_named(text: str) -> Root:
    """Read the name of an information model: `patient`, `study`, `patient-study-only`, `worklist`.

    Raises: QueryError.
    """
    name = text.strip().upper().replace("-", "_")
    if name not in Root.__members__:
        names = ", ".join(each.lower().replace("_", "-") for each in Root.__members__)
        raise QueryError(f"{text!r} is no information model; models are {names}")
    return Root[name]


def level_of(keys: Iterable[Key], root: Root) -> Level:
    """The level that a query is meant for: that of its lowest key, at least that of a study.

    Where the model begins with patients and all keys are theirs, it is that of a patient. What no level is
    known for does not count.
    """
    known = [_LEVELS[key.path[0]] for key in keys if key.path[0] in _LEVELS]
    lowest = max(known, default=Level.STUDY)
    if lowest is Level.PATIENT and Level.PATIENT in root.value.levels:
        return Level.PATIENT
    return max(lowest, Level.STUDY)


def query(keys: Iterable[Key], root: Root, level: Level | None = None) -> tuple[Key, ...]:
    """The keys of a C-FIND: with the level and its unique key, and where none is asked for what people want.

    Args:
        level: None to infer it.

    Raises: QueryError, when the model has no such level.
    """
    wanted = list(keys)
    if root is Root.WORKLIST:
        shown = _WORKLIST
        return (*wanted, *_absent(wanted, shown)) if all(key.given for key in wanted) else tuple(wanted)
    named = _named_level(wanted)
    wanted = _without_level(wanted)
    level = _checked(_first(level, named, level_of(wanted, root)), root)
    if all(key.given for key in wanted):
        shown = tuple((TAGS[keyword],) for keyword in _SHOWN[level].split())
    else:
        shown = tuple((UNIQUE_KEYS[each],) for each in root.value.levels if each <= level)
    return (*wanted, *_absent(wanted, shown), Key(_LEVEL, level.name, given=True))


def retrieval(keys: Iterable[Key], root: Root, level: Level | None = None) -> tuple[Key, ...]:
    """The keys of a C-MOVE or C-GET: the level and unique keys, at least that of the level.

    Args:
        level: None for that of the lowest unique key.

    Raises: QueryError, for other keys, which the standard does not allow (PS3.4 C.4.2.1.4.1), for a level
        without its unique key, and when the model has no such level.
    """
    keys = tuple(keys)
    wanted = [key for key in _without_level(keys) if key.value]
    unique = {UNIQUE_KEYS[each]: each for each in root.value.levels}
    levels = [unique[key.path[0]] for key in wanted if key.path[0] in unique]
    other = [key.name for key in wanted if key.path[0] not in unique]
    if other:
        raise QueryError(
            f"{root.value.name} retrieves by {', '.join(Key((tag,)).name for tag in unique)} only, not by "
            f"{', '.join(other)}: find it first (PS3.4 C.4.2.1.4.1)"
        )
    if not levels:
        raise QueryError("nothing is named to retrieve: give StudyInstanceUID=..., for example")
    level = _checked(_first(level, _named_level(keys), max(levels)), root)
    if level not in levels:
        tag = UNIQUE_KEYS[level]
        raise QueryError(f"a retrieval at level {level.name} needs a value of {Key((tag,)).name}")
    return (*wanted, Key(_LEVEL, level.name, given=True))


def root_for(keys: Iterable[Key], level: Level | None, *, retrieve: bool = False) -> Root:
    """The model for keys where none is named: Study Root, but for patients as such.

    Args:
        retrieve: it is a C-MOVE or C-GET, for which Study Root knows no PatientID.
    """
    keys = tuple(keys)
    level = level if level is not None else _named_level(keys)
    patient = retrieve and any(key.value and key.path == (UNIQUE_KEYS[Level.PATIENT],) for key in keys)
    return Root.PATIENT if level is Level.PATIENT or patient else Root.STUDY


def names_all(keys: Iterable[Key], root: Root) -> bool:
    """Whether keys name what is to be retrieved: unique ones only, with values and without wild cards."""
    unique = {(UNIQUE_KEYS[each],) for each in root.value.levels}
    given = _without_level(keys)
    return all(key.path in unique and key.value and not set("*?") & set(key.value) for key in given)


def missing_parents(keys: Iterable[Key], root: Root, level: Level) -> tuple[str, ...]:
    """Unique keys of the levels above that a hierarchical query must give a single value (PS3.4 C.4.1.2.2).

    Returns: their keywords; peers that agreed to relational queries do without them.
    """
    single = {key.path[0] for key in keys if key.value and not set("*?\\") & set(key.value)}
    above = [UNIQUE_KEYS[each] for each in root.value.levels if each < level]
    return tuple(Key((tag,)).name for tag in above if tag not in single)


def _first(given: Level | None, named: Level | None, otherwise: Level) -> Level:
    """PATIENT is a level, too, though it is 0."""
    return given if given is not None else named if named is not None else otherwise


def _named_level(keys: Iterable[Key]) -> Level | None:
    """The level that (0008,0052) among the keys names."""
    return next((level_named(key.value) for key in keys if key.path == _LEVEL and key.value), None)


def _without_level(keys: Iterable[Key]) -> list[Key]:
    return [key for key in keys if key.path != _LEVEL]


def _checked(level: Level, root: Root) -> Level:
    if level not in root.value.levels:
        names = ", ".join(each.name for each in root.value.levels)
        raise QueryError(f"{root.value.name} has no level {level.name}, only {names} (PS3.4 C.6)")
    return level


def _absent(keys: Iterable[Key], paths: Iterable[tuple[int, ...]]) -> list[Key]:
    there = {key.path for key in keys}
    return [Key(path) for path in paths if path not in there]
