"""The Store Instances Response: verdicts as statuses and as DICOM JSON (PS3.18 10.5.3, I)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from json.encoder import encode_basestring_ascii
from types import MappingProxyType
from typing import Final, TypeAlias

from dicomwire.archive.archive import Outcome, Verdict
from dicomwire.web.resources import instance_url, study_url

_COMMENT_LENGTH: Final = 64  # characters of an LO (PS3.5 6.2)

Members: TypeAlias = dict[str, str]
"""Of a DICOM JSON object: what stands behind each tag."""


class Reason(IntEnum):
    """Values of Failure Reason and Warning Reason (PS3.18 Tables I.2-1, I.2-2)."""

    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111  # PS3.7 C.5.7; none of Table I.2-2 says it
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    OTHER_STUDY = 0xA901  # one of A9xx of our own: not the study in the URL
    CANNOT_UNDERSTAND = 0xC000
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122
    COERCION_OF_DATA_ELEMENTS = 0xB000


@dataclass(frozen=True, slots=True)
class Failure:
    """An instance that was refused.

    Attributes:
        reason: what the response says.
        comment: the same in words, as long as they need be.
        sop_class_uid, sop_instance_uid: "" where they could not be read.
    """

    reason: Reason
    comment: str
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is in the archive; `warning` where that needs a remark."""

    outcome: Outcome
    warning: Reason | None = None

    @property
    def is_current(self) -> bool:
        """Its URL leads to it; to that of a conflicting version leads none."""
        return self.outcome.verdict is not Verdict.CONFLICT


Result: TypeAlias = Stored | Failure

# What each verdict of the archive is at this door: None is success.
HTTP_OF: Final[Mapping[Verdict, Reason | None]] = MappingProxyType(
    {
        Verdict.STORED: None,
        Verdict.ALREADY_STORED: None,
        Verdict.REPLACED: None,
        Verdict.CONFLICT: Reason.COERCION_OF_DATA_ELEMENTS,
        Verdict.DUPLICATE_REJECTED: Reason.DUPLICATE_SOP_INSTANCE,
        Verdict.MISMATCH: Reason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
        Verdict.NOT_UNDERSTOOD: Reason.CANNOT_UNDERSTAND,
        Verdict.OUT_OF_RESOURCES: Reason.OUT_OF_RESOURCES,
    }
)
_KEPT: Final = frozenset({Verdict.STORED, Verdict.ALREADY_STORED, Verdict.REPLACED, Verdict.CONFLICT})


def result_of(outcome: Outcome) -> Result:
    """The archive's outcome as this door tells it."""
    reason = HTTP_OF[outcome.verdict]
    if outcome.verdict in _KEPT:
        return Stored(outcome, reason)
    assert reason is not None
    return Failure(reason, outcome.comment, outcome.sop_class_uid, outcome.sop_instance_uid)


def status_of(results: Sequence[Result]) -> int:
    """200 all stored, 202 some or with remarks, 409 none, 507 none for want of room.

    Source: PS3.18 Table 10.5.3-1.
    """
    stored = [result for result in results if isinstance(result, Stored)]
    if not stored:
        failures = (result for result in results if isinstance(result, Failure))
        return 507 if any(failure.reason is Reason.OUT_OF_RESOURCES for failure in failures) else 409
    complete = len(stored) == len(results) and not any(result.warning for result in stored)
    return 200 if complete else 202


def locations_of(results: Sequence[Result], base: str) -> dict[str, str]:
    """Where what was stored is: the instance, the study, or all studies (PS3.18 Table 10.5.3-2)."""
    current = [result.outcome for result in results if isinstance(result, Stored) and result.is_current]
    if not current:
        return {}
    if len(current) == 1:
        url = _instance_url(current[0], base)
    elif len(studies := {outcome.study_instance_uid for outcome in current}) == 1:
        url = study_url(base, studies.pop())
    else:
        url = f"{base}/studies"
    return {"Location": url, "Content-Location": url}


def encode(results: Sequence[Result], base: str) -> bytes:
    """The Store Instances Response as a DICOM JSON object; base: what URLs begin with.

    Source: PS3.18 Table I.1-1.
    """
    stored = [result for result in results if isinstance(result, Stored)]
    failures = [result for result in results if isinstance(result, Failure)]
    named = [failure for failure in failures if failure.sop_instance_uid]
    others = [failure for failure in failures if not failure.sop_instance_uid]
    studies = {result.outcome.study_instance_uid for result in stored if result.is_current}
    response = {"00081190": _element("UR", study_url(base, studies.pop()) if len(studies) == 1 else None)}
    if named:
        response["00081198"] = _sequence([_reference(failure) | _reason(failure) for failure in named])
    if stored:
        response["00081199"] = _sequence([_referenced(result, base) for result in stored])
    if others:
        response["0008119A"] = _sequence([_reason(failure) for failure in others])
    return _object(response).encode("ascii")


def _referenced(result: Stored, base: str) -> Members:
    outcome = result.outcome
    item = _reference(outcome)
    item["00081190"] = _element("UR", _instance_url(outcome, base) if result.is_current else None)
    if result.warning is not None:
        item["00000902"] = _element("LO", outcome.comment[:_COMMENT_LENGTH])
        item["00081196"] = _element("US", int(result.warning))
    return item


def _instance_url(outcome: Outcome, base: str) -> str:
    return instance_url(
        base,
        study=outcome.study_instance_uid,
        series=outcome.series_instance_uid,
        instance=outcome.sop_instance_uid,
    )


def _reference(instance: Outcome | Failure) -> Members:
    """SOP Instance Reference Macro (PS3.3 Table 10-11)."""
    return {
        "00081150": _element("UI", instance.sop_class_uid or None),
        "00081155": _element("UI", instance.sop_instance_uid),
    }


def _reason(failure: Failure) -> Members:
    return {
        "00000902": _element("LO", failure.comment[:_COMMENT_LENGTH] or None),
        "00081197": _element("US", int(failure.reason)),
    }


def _element(vr: str, value: str | int | None) -> str:
    if value is None:
        return f'{{"vr":"{vr}"}}'
    text = encode_basestring_ascii(value) if isinstance(value, str) else value
    return f'{{"vr":"{vr}","Value":[{text}]}}'


def _sequence(items: Sequence[Members]) -> str:
    return f'{{"vr":"SQ","Value":[{",".join(map(_object, items))}]}}'


def _object(members: Members) -> str:
    return "{" + ",".join([f'"{tag}":{members[tag]}' for tag in sorted(members)]) + "}"
