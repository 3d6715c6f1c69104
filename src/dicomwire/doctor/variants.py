"""What else to try when a peer refuses, and what a peer that does not refuse takes besides (PS3.8 9.3.4)."""

from __future__ import annotations

from typing import Final

from dicomwire.association.requestor import Context
from dicomwire.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    VERIFICATION,
)

LONGEST_TITLE: Final = 16
UNCHECKED: Final = "ANY-SCP"  # DCMTK's and others' word for whoever answers
# AE titles that widespread products come with.
FACTORY_CALLED: Final = (UNCHECKED, "ORTHANC", "DCM4CHEE", "STORESCP")
FACTORY_CALLING: Final = ("STORESCU", "ECHOSCU")

VERIFICATION_ALONE: Final = (Context(VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)),)

_CT, _MR, _SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
_STUDY_FIND, _STUDY_MOVE, _STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
_PATIENT_FIND, _WORKLIST = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.31"
_UNCOMPRESSED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

SECONDARY_CAPTURE: Final = _SC
STUDY_ROOT_FIND: Final = _STUDY_FIND
STUDY_ROOT_MOVE: Final = _STUDY_MOVE

TOGETHER: Final = (
    *VERIFICATION_ALONE,
    *(Context(uid, _UNCOMPRESSED) for uid in (_CT, _MR, _SC)),
    *(
        Context(uid, _UNCOMPRESSED)
        for uid in (_PATIENT_FIND, _STUDY_FIND, _STUDY_MOVE, _STUDY_GET, _WORKLIST)
    ),
)
"""What most devices ask of most archives, in one association."""

ONE_SYNTAX_EACH: Final = tuple(
    Context(VERIFICATION, (uid,))
    for uid in (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
)


def called_variants(called: str, calling: str) -> tuple[str, ...]:
    """Called AE titles to try in place of one that was refused: the same in other cases first."""
    return _others(called, (*_cases(called), *FACTORY_CALLED))


def calling_variants(calling: str, called: str) -> tuple[str, ...]:
    """Calling AE titles to try in place of one that was refused."""
    return _others(calling, (*_cases(calling), called, *FACTORY_CALLING))


def other_case(title: str) -> str:
    """The same AE title in another case; itself where it has no letters."""
    return title.lower() if title != title.lower() else title.upper()


def _cases(title: str) -> tuple[str, ...]:
    stripped = title.strip(" _-.")
    return title.upper(), title.lower(), title.title(), stripped


def _others(title: str, candidates: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        one for one in dict.fromkeys(candidates) if one and one != title and len(one) <= LONGEST_TITLE
    )
