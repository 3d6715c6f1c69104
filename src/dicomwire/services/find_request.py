"""What a C-FIND asks for: the keys of its Identifier, its level, and the rules of hierarchy (PS3.4 C.4.1).

Pure: an Identifier in, a query out, or the words of a refusal. A key of a level above that is no unique key
may be there to be returned, as many clients have it, but not to be matched; keys below the level are left out
of the answers, which say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dicomwire.archive.moments import OFFSET, TIMEZONE
from dicomwire.archive.query import Level, Match, Path, Query
from dicomwire.dicom.data_set import Attribute, DataSet
from dicomwire.dicom.dictionary import TAGS, keyword_of, tag_text
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.errors import QueryError
from dicomwire.services.key_types import KEYS, UNIQUE, level_in
from dicomwire.services.models import Root

QUERY_RETRIEVE_LEVEL: Final = TAGS["QueryRetrieveLevel"]
RETRIEVE_AE_TITLE: Final = TAGS["RetrieveAETitle"]
_NO_KEYS: Final = frozenset(
    (SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE, TAGS["QueryRetrieveView"])
)
_LEVELS: Final = {"PATIENT": Level.PATIENT, "STUDY": Level.STUDY, "SERIES": Level.SERIES} | {
    "IMAGE": Level.INSTANCE
}
LEVEL_NAMES: Final = {level: name for name, level in _LEVELS.items()}
_MATCHES_ONE: Final = frozenset("*?\\")  # in a unique key of a level above, they are no single value


@dataclass(frozen=True, slots=True)
class Agreed:
    """What extended negotiation agreed on (PS3.4 Table C.5-2)."""

    relational: bool = False
    combined: bool = False
    fuzzy: bool = False
    timezone: bool = False
    all_values: bool = False


def agreed(information: bytes) -> Agreed:
    """Read the answer that item 56H was given; missing bytes are zeros."""
    relational, combined, fuzzy, timezone, _, _, all_values = (
        byte == 1 for byte in information[:7].ljust(7, b"\0")
    )
    return Agreed(relational, combined, fuzzy, timezone, all_values)


def answered(information: bytes) -> bytes:
    """What a proposal in item 56H is answered with: all but Enhanced Multi-Frame Image Conversion.

    The answer is as long as the proposal, up to the seven bytes of PS3.4 Table C.5-2.
    """
    return bytes(byte & 1 if at != 4 else 0 for at, byte in enumerate(information[:7]))


@dataclass(frozen=True, slots=True)
class Asked:
    """A C-FIND, understood.

    Attributes:
        returned: tags of the attributes that each answer has.
        items: tags wanted of the items of a sequence; of one that is not here, everything.
        unsupported: tags of keys that are neither matched nor returned.
        character_set: Specific Character Set that the request names, "" where it names none.
    """

    query: Query
    returned: tuple[int, ...]
    items: dict[int, frozenset[int]]
    unsupported: tuple[int, ...]
    character_set: str


class Unfit(QueryError):
    """An Identifier that does not fit its SOP class; answered A900H.

    Attributes:
        tag: of the offending element.
    """

    def __init__(self, tag: int, comment: str) -> None:
        super().__init__(comment)
        self.tag = tag


def read(identifier: DataSet, root: Root, agreement: Agreed) -> Asked:
    """The query that an Identifier stands for.

    Raises: Unfit, when the level is none of the model's, a key is missing or is one of another level.
    Source: PS3.4 C.4.1.1.3.1, C.4.1.2, C.4.1.3.
    """
    level = _level(identifier, root)
    matches: list[Match] = []
    fields: list[int] = []
    unsupported: list[int] = []
    items: dict[int, frozenset[int]] = {}
    for tag, attribute in identifier.items():
        if tag in _NO_KEYS or (tag == TIMEZONE and agreement.timezone):
            continue
        of = level_in(root, tag)
        if of is None or of > level:
            unsupported.append(tag)
            continue
        keys = list(keys_in((tag,), attribute))
        if of < level and tag not in UNIQUE.values() and not agreement.relational:
            _only_returned(tag, of, level, keys)
        fields.append(tag)
        matches += keys
        if attribute.vr == "SQ" and (wanted := _wanted(attribute)):
            items[tag] = wanted
    if not agreement.relational:
        _check_above(identifier, root, level)
    unique = [tag for of, tag in UNIQUE.items() if of in KEYS[root] and of <= level]
    query = Query(
        level,
        tuple(matches),
        (SPECIFIC_CHARACTER_SET, *dict.fromkeys((*fields, *unique))),
        empty_values=True,
        all_values=agreement.all_values,
        fuzzy=agreement.fuzzy,
        combined=agreement.combined,
        timezone=identifier.text(TIMEZONE) if agreement.timezone else "",
    )
    if query.timezone and not OFFSET.fullmatch(query.timezone):
        raise Unfit(TIMEZONE, "TimezoneOffsetFromUTC (0008,0201): +HHMM or -HHMM wanted")
    terms = "\\".join(identifier.texts(SPECIFIC_CHARACTER_SET))
    return Asked(query, tuple(dict.fromkeys((*fields, *unique))), items, tuple(unsupported), terms)


def _level(identifier: DataSet, root: Root) -> Level:
    text = identifier.text(QUERY_RETRIEVE_LEVEL).strip()
    if not text:
        raise Unfit(QUERY_RETRIEVE_LEVEL, "QueryRetrieveLevel (0008,0052) is missing")
    level = _LEVELS.get(text)
    if level is None or level not in KEYS[root]:
        names = ", ".join(LEVEL_NAMES[each] for each in KEYS[root])
        raise Unfit(QUERY_RETRIEVE_LEVEL, f"QueryRetrieveLevel {text[:12]!a} is none of {names}")
    return level


def _check_above(identifier: DataSet, root: Root, level: Level) -> None:
    """Each level above has its unique key, with one value (PS3.4 C.4.1.2.1)."""
    for above in KEYS[root]:
        tag = UNIQUE[above]
        if above >= level:
            continue
        value = "\\".join(identifier.texts(tag)).strip(" \0")
        if not value:
            raise Unfit(tag, f"{keyword_of(tag)} {tag_text(tag)} is missing at level {LEVEL_NAMES[level]}")
        if _MATCHES_ONE.intersection(value):
            raise Unfit(tag, f"{keyword_of(tag)}: one value wanted at level {LEVEL_NAMES[level]}")


def _only_returned(tag: int, of: Level, level: Level, keys: list[Match]) -> None:
    if any(key.value.strip(" *") for key in keys):
        name = keyword_of(tag) or tag_text(tag)
        raise Unfit(tag, f"{name[:28]} is a key of {LEVEL_NAMES[of]}, above {LEVEL_NAMES[level]}")


def keys_in(path: Path, attribute: Attribute) -> Iterator[Match]:
    """The keys of an attribute: its own, or those of the one item of a sequence (PS3.4 C.2.2.2.6).

    path: of the attribute. Raises: Unfit, for a sequence of several items.
    """
    if attribute.vr != "SQ":
        texts = [str(value) for value in attribute.values if not isinstance(value, bytes | DataSet)]
        if any(texts):
            yield Match(path, "\\".join(texts))
        return
    items = [value for value in attribute.values if isinstance(value, DataSet)]
    if len(items) > 1:
        name = keyword_of(path[-1]) or tag_text(path[-1])
        raise Unfit(path[0], f"{name[:28]} has {len(items)} items; one wanted")
    for item in items:
        for tag, inner in item.items():
            yield from keys_in((*path, tag), inner)


def _wanted(sequence: Attribute) -> frozenset[int]:
    return frozenset(tag for item in sequence.values if isinstance(item, DataSet) for tag in item)
