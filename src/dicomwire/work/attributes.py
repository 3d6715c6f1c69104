"""What an attribute list must hold: tables of types, checked and completed (PS3.5 7.4, PS3.4 F.7.2).

A missing attribute of type 1, or one of type 1 without a value, is refused with its tag. One of type 2 that
is missing is added without a value, as if it had been sent so: many modalities leave some out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dicomwire.dicom.data_set import Attribute, DataSet, tag_of
from dicomwire.dicom.dictionary import keyword_of, vr_of
from dicomwire.work.refusal import Reason, Refused


@dataclass(frozen=True, slots=True)
class Rule:
    """One attribute of a table.

    Attributes:
        kind: its type: "1", "2" or "3"; "-" where it is not allowed.
        items: of a sequence, what each item must hold.
    """

    keyword: str
    kind: str
    items: tuple[Rule, ...] = ()

    @property
    def tag(self) -> int:
        """The attribute's tag."""
        return tag_of(self.keyword)


def checked(data_set: DataSet, rules: Sequence[Rule]) -> DataSet:
    """The data set with the attributes of type 2 that it lacks.

    Raises: Refused, with the tags, when attributes of type 1 are missing or empty, or when one is a sequence
        that should not be, or should be one and is none.
    """
    missing, empty = list[int](), list[int]()
    completed = _checked(data_set, rules, missing, empty)
    if missing:
        raise Refused(Reason.MISSING_ATTRIBUTE, f"Missing: {_named(missing)}", tuple(missing))
    if empty:
        raise Refused(Reason.MISSING_VALUE, f"No value: {_named(empty)}", tuple(empty))
    return completed


def not_allowed(data_set: DataSet, rules: Iterable[Rule]) -> list[int]:
    """Tags of what is there and must not be, in items too."""
    found = list[int]()
    for rule in rules:
        if rule.kind == "-" and rule.tag in data_set:
            found.append(rule.tag)
        elif rule.items:
            for item in data_set.sequence(rule.tag):
                found += not_allowed(item, rule.items)
    return found


def _checked(data_set: DataSet, rules: Sequence[Rule], missing: list[int], empty: list[int]) -> DataSet:
    completed = DataSet(data_set)
    for rule in rules:
        tag = rule.tag
        attribute = data_set.get(tag)
        if attribute is None:
            if rule.kind == "1":
                missing.append(tag)
            elif rule.kind == "2":
                completed[tag] = Attribute(vr_of(tag)[:2])
        elif (attribute.vr == "SQ") != (vr_of(tag) == "SQ") and attribute.values:
            words = f"{keyword_of(tag)[:40]} is {'no' if vr_of(tag) == 'SQ' else 'a'} sequence"
            raise Refused(Reason.MISTYPED, words, (tag,))
        elif rule.kind == "1" and not data_set.has_value(tag):
            empty.append(tag)
        elif rule.items:
            items = [_checked(item, rule.items, missing, empty) for item in data_set.sequence(tag)]
            completed[tag] = Attribute("SQ", tuple(items))
    return completed


def _named(tags: Sequence[int]) -> str:
    return keyword_of(tags[0])[:40] + (f" and {len(tags) - 1} more" if len(tags) > 1 else "")
