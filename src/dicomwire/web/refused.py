"""Refusals of the store of work as HTTP statuses (PS3.18 8.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dicomwire.dicom.dictionary import keyword_of, tag_text
from dicomwire.web.problems import Problem
from dicomwire.work.refusal import Reason, Refused

STATUS_OF: Final[Mapping[Reason, int]] = {
    Reason.DUPLICATE_INSTANCE: 409,
    Reason.NO_SUCH_INSTANCE: 404,
    Reason.FINAL_STATE: 409,
    Reason.CLASS_CONFLICT: 409,
    Reason.UPS_UNKNOWN: 404,
    Reason.UPS_FINAL: 409,
    Reason.UPS_IN_PROGRESS: 409,
    Reason.UPS_ONLY_CREATED: 409,
    Reason.UPS_NOT_MET: 409,
    Reason.UPS_NOT_IN_PROGRESS: 409,
    Reason.UPS_COMPLETED: 409,
    Reason.UPS_RECEIVER_UNKNOWN: 404,
    Reason.UPS_GONE: 410,
    Reason.UPS_NO_CONTACT: 409,
    Reason.UPS_NOT_CANCELED: 409,
    Reason.UPS_NO_EVENTS: 403,
}
"""HTTP status of a refusal; 400 for every other one."""


def problem(refused: Refused, statuses: Mapping[Reason, int] = STATUS_OF) -> Problem:
    """The answer to a request that was refused."""
    names = [keyword_of(tag) or tag_text(tag) for tag in refused.attributes]
    named = ", ".join(name for name in names if name not in refused.words)
    detail = f"{refused.words} ({named})" if named else refused.words
    return Problem(statuses.get(refused.reason, 400), detail)
