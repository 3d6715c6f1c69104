"""What a retrieval asks for: models, levels, unique keys and their rules (PS3.4 C.4.2.1.4, C.6, Y.3).

Pure: an Identifier in, what to look for out, or the status and the words of a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dicomwire.dicom.dictionary import TAGS, keyword_of, tag_text
from dicomwire.dicom.frame_extraction import FrameRange
from dicomwire.dimse import status
from dicomwire.errors import DicomwireError
from dicomwire.services.identifier import Identifier
from dicomwire.services.models import Root
from dicomwire.uids import is_valid_uid

PATIENT_ROOT_MOVE: Final = Root.PATIENT.value.move
PATIENT_ROOT_GET: Final = Root.PATIENT.value.get
STUDY_ROOT_MOVE: Final = Root.STUDY.value.move
STUDY_ROOT_GET: Final = Root.STUDY.value.get
PATIENT_STUDY_ONLY_MOVE: Final = Root.PATIENT_STUDY_ONLY.value.move
PATIENT_STUDY_ONLY_GET: Final = Root.PATIENT_STUDY_ONLY.value.get
COMPOSITE_INSTANCE_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.4.2"
COMPOSITE_INSTANCE_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.4.3"
WITHOUT_BULK_DATA_GET: Final = "1.2.840.10008.5.1.4.1.2.5.3"

_PATIENT, _STUDY, _SERIES, _IMAGE = "PATIENT", "STUDY", "SERIES", "IMAGE"
FRAME: Final = "FRAME"

MODELS: Final[Mapping[str, tuple[str, ...]]] = {
    PATIENT_ROOT_MOVE: (_PATIENT, _STUDY, _SERIES, _IMAGE),
    PATIENT_ROOT_GET: (_PATIENT, _STUDY, _SERIES, _IMAGE),
    STUDY_ROOT_MOVE: (_STUDY, _SERIES, _IMAGE),
    STUDY_ROOT_GET: (_STUDY, _SERIES, _IMAGE),
    PATIENT_STUDY_ONLY_MOVE: (_PATIENT, _STUDY),
    PATIENT_STUDY_ONLY_GET: (_PATIENT, _STUDY),
    COMPOSITE_INSTANCE_ROOT_MOVE: (_IMAGE, FRAME),
    COMPOSITE_INSTANCE_ROOT_GET: (_IMAGE, FRAME),
    WITHOUT_BULK_DATA_GET: (_IMAGE,),
}
"""The levels of each model, from the top."""

MOVE: Final = frozenset(
    {PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE, PATIENT_STUDY_ONLY_MOVE, COMPOSITE_INSTANCE_ROOT_MOVE}
)
GET: Final = frozenset(MODELS) - MOVE
RELATIONAL: Final = frozenset(uid for uid, levels in MODELS.items() if _STUDY in levels)
"""Models for which relational retrieval can be negotiated (PS3.4 C.5.2.1, C.5.3.1)."""

_UNIQUE_KEYS: Final = {
    _PATIENT: TAGS["PatientID"],
    _STUDY: TAGS["StudyInstanceUID"],
    _SERIES: TAGS["SeriesInstanceUID"],
    _IMAGE: TAGS["SOPInstanceUID"],
}
_FRAME_RANGE_KEYS: Final = {
    TAGS["SimpleFrameList"]: "UL",
    TAGS["CalculatedFrameList"]: "UL",
    TAGS["TimeRange"]: "FD",
}
_ISSUER_OF_PATIENT_ID: Final = TAGS["IssuerOfPatientID"]


class Refused(DicomwireError):
    """A retrieval that cannot be performed.

    Attributes:
        status: of the answer.
    """

    def __init__(self, status: int, comment: str) -> None:
        super().__init__(comment)
        self.status = status


@dataclass(frozen=True, slots=True)
class Selection:
    """What to retrieve: every list that is not empty has to hold an instance's value.

    Attributes:
        level: as asked.
        issuer_of_patient_id: of the patient, where the request says it.
        frames: of the one instance, at level FRAME.
    """

    level: str
    patient_ids: tuple[str, ...] = ()
    study_instance_uids: tuple[str, ...] = ()
    series_instance_uids: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    issuer_of_patient_id: str = ""
    frames: FrameRange | None = None


def select(identifier: Identifier, sop_class_uid: str, *, relational: bool = False) -> Selection:
    """What an Identifier asks for.

    Args:
        sop_class_uid: the information model, one of `MODELS`.
        relational: unique keys above the level may be missing or be lists.

    Raises: Refused A900H, when a key is missing, is no UID, or does not belong to the level; AA04H, when the
        frames are not named in one of the three ways.
    Source: PS3.4 C.4.2.2.1, C.4.2.2.2.
    """
    levels = MODELS[sop_class_uid]
    asked = identifier.level
    if not asked:
        raise _bad("QueryRetrieveLevel (0008,0052) is missing or empty")
    if asked not in levels:
        raise _bad(f"QueryRetrieveLevel {asked[:16]!a} is none of {', '.join(levels)}")
    depth = levels.index(asked)
    found: dict[str, tuple[str, ...]] = {}
    for number, level in enumerate(levels):
        tag = _UNIQUE_KEYS.get(level)
        if tag is None:
            continue
        values = tuple(dict.fromkeys(identifier.texts(tag)))
        _check(tag, values, level, asked, above=number < depth, below=number > depth, relational=relational)
        found[level] = values
    issuer = identifier.texts(_ISSUER_OF_PATIENT_ID) if found.get(_PATIENT) else []
    return Selection(
        asked,
        found.get(_PATIENT, ()),
        found.get(_STUDY, ()),
        found.get(_SERIES, ()),
        found.get(_IMAGE, ()),
        issuer[0] if issuer else "",
        _frames(identifier, asked),
    )


def _check(
    tag: int, values: tuple[str, ...], level: str, asked: str, *, above: bool, below: bool, relational: bool
) -> None:
    if below:
        if values:
            raise _bad(f"{_named(tag)} is a key below level {asked}")
        return
    needed = not (above and relational)
    if not values and needed:
        raise _bad(f"{_named(tag)} is missing, needed at level {asked}")
    if len(values) > 1 and needed and (above or level == _PATIENT):
        raise _bad(f"{_named(tag)} has {len(values)} values, one wanted")
    if level != _PATIENT and (wrong := [value for value in values if not is_valid_uid(value)]):
        raise _bad(f"{keyword_of(tag)} is no UID: {wrong[0][:24]!a}")


def _frames(identifier: Identifier, asked: str) -> FrameRange | None:
    """The frame range keys (PS3.4 Y.3.2)."""
    given = {tag: vr for tag, vr in _FRAME_RANGE_KEYS.items() if identifier.values.get(tag)}
    if asked != FRAME:
        if given:
            raise _bad(f"{_named(next(iter(given)))} is a key below level {asked}")
        return None
    if len(given) != 1:
        comment = f"{len(given)} frame range keys; one wanted at level FRAME"
        raise Refused(status.INVALID_FRAME_REQUEST, comment)
    ((tag, vr),) = given.items()
    numbers = identifier.decoder.numbers(vr, identifier.values[tag])
    if vr == "FD":
        return FrameRange(times=tuple(map(float, numbers)))
    frames = tuple(map(int, numbers))
    simple = tag == TAGS["SimpleFrameList"]
    return FrameRange(simple=frames) if simple else FrameRange(calculated=frames)


def _named(tag: int) -> str:
    return f"{keyword_of(tag)} {tag_text(tag)}"


def _bad(comment: str) -> Refused:
    return Refused(status.IDENTIFIER_DOES_NOT_MATCH, comment)
