"""Values of workitems, coerced to valid ones where it is plain what is meant (PS3.4 CC.2.5.3, CC.2.6.3).

What is changed is said to who sent it; what cannot be understood is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

from dicomwire.dicom.data_set import Attribute, DataSet, tag_of
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.ups_attributes import ENUMERATED

Rules: TypeAlias = Mapping[int, Callable[[str], str | None]]
"""What makes the value of a tag valid; None for one that means nothing."""

_LABEL_LIMIT: Final = 64  # characters of an LO (PS3.5 Table 6.2-1)
_MOMENT: Final = re.compile(r"\d{4}(\d\d){0,5}(\.\d{1,6})?([+-]\d{4})?")
_NUMBER: Final = re.compile(r" *[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})? *")
_ISO_8601: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d))?")


def coerced(attributes: DataSet) -> tuple[DataSet, tuple[int, ...]]:
    """The attributes with valid values, and the tags of those that are not as they were sent.

    Raises: Refused, INVALID_VALUE with the tags, for values that mean nothing.
    """
    valid, changed, invalid = DataSet(attributes), list[int](), list[int]()
    _coerce(valid, _VALUES, changed, invalid)
    progress = tag_of("ProcedureStepProgressInformationSequence")
    items = [DataSet(item) for item in valid.sequence(progress)]
    before = len(changed)
    for item in items:
        _coerce(item, _PROGRESS, changed, invalid)
    if len(changed) > before:
        valid[progress] = Attribute("SQ", tuple(items))
    if invalid:
        raise Refused(Reason.INVALID_VALUE, "Values that are none", tuple(invalid))
    return valid, tuple(changed)


def _coerce(data_set: DataSet, rules: Rules, changed: list[int], invalid: list[int]) -> None:
    for tag, rule in rules.items():
        values = data_set.texts(tag)
        if not data_set.has_value(tag):
            continue
        value = rule(values[0]) if len(values) == 1 else None
        if value is None:
            invalid.append(tag)
        elif value != values[0]:
            data_set.put(tag, value)
            changed.append(tag)


def _enumerated(allowed: tuple[str, ...], value: str) -> str | None:
    return value.strip().upper() if value.strip().upper() in allowed else None


def _label(value: str) -> str:
    return value[:_LABEL_LIMIT]


def _moment(value: str) -> str | None:
    if _MOMENT.fullmatch(value):
        return value
    found = _ISO_8601.fullmatch(value)
    return "".join(part or "" for part in found.groups()) if found else None


def _percentage(value: str) -> str | None:
    if not _NUMBER.fullmatch(value):
        return None
    number = float(value)
    if 0 <= number <= 100:
        return value
    return "0" if number < 0 else "100"


_VALUES: Final[Rules] = {
    **{tag_of(name): partial(_enumerated, allowed) for name, allowed in ENUMERATED.items()},
    **dict.fromkeys((tag_of("ProcedureStepLabel"), tag_of("WorklistLabel")), _label),
    **dict.fromkeys(
        (
            tag_of("ScheduledProcedureStepStartDateTime"),
            tag_of("ExpectedCompletionDateTime"),
            tag_of("ScheduledProcedureStepExpirationDateTime"),
        ),
        _moment,
    ),
}
_PROGRESS: Final[Rules] = {tag_of("ProcedureStepProgress"): _percentage}
