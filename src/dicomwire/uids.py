"""SOP classes, transfer syntaxes and the other well-known UIDs (PS3.6 A).

The tables are generated from checked-in facts (`tools/generate_registry.py`). Editions: the 2025 editions of
PS3.6 list 320 SOP classes and meta SOP classes, those of 2026 three more (For Processing CT, Supplement 252).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dicomwire import _registry

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

VERIFICATION: Final = "1.2.840.10008.1.1"
APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"  # DICOM Application Context Name, PS3.7 A.2.1
STORAGE_SERVICE_CLASS: Final = "1.2.840.10008.4.2"  # named by item 57H, PS3.7 D.3.3.6

# The root is a UUID, PS3.5 B.2: no registration needed, never the same as another implementation's.
IMPLEMENTATION_CLASS_UID: Final = "2.25.76328326099373788940887201122199076656"
IMPLEMENTATION_VERSION_NAME: Final = "DICOMWIRE_0_1"  # at most 16 characters, PS3.7 D.3.3.2.3

EDITIONS: Final = ("2025", "2026")  # oldest first; the tables are those of the last


@dataclass(frozen=True, slots=True)
class SOPClass:
    """A row of PS3.6 Table A-1 of type SOP Class or Meta SOP Class.

    Attributes:
        uid: its UID.
        name: the registered name, without "(Retired)".
        keyword: the UID keyword.
        meta: a meta SOP class, one abstract syntax for several classes.
        retired: still in the field, no longer in the standard.
        service_class: the service class of PS3.4 it belongs to.
        storage: instances of it are composite or non-patient objects that C-STORE carries.
        iod: the information object definition, "" where PS3.4 names none.
        edition: the first of `EDITIONS` that lists it.
    """

    uid: str
    name: str
    keyword: str
    meta: bool
    retired: bool
    service_class: str
    storage: bool
    iod: str
    edition: str


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """A row of PS3.6 Table A-1 of type Transfer Syntax.

    Attributes:
        uid: its UID.
        name: the registered name, without "(Retired)".
        keyword: the UID keyword.
        retired: still in the field, no longer in the standard.
        explicit_vr: elements carry their VR; None where it is no encoding of data sets.
        little_endian: byte order; None where it is no encoding of data sets.
        deflated: the whole data set is deflated (RFC 1951).
        encapsulated: pixel data is a sequence of fragments (PS3.5 A.4).
        codec: words for what compresses the pixels.
        loss: "lossless", "lossy", "lossy or lossless", "lossless (of the JPEG)", "n/a".
    """

    uid: str
    name: str
    keyword: str
    retired: bool
    explicit_vr: bool | None
    little_endian: bool | None
    deflated: bool
    encapsulated: bool
    codec: str
    loss: str


SOP_CLASSES: Final[Mapping[str, SOPClass]] = MappingProxyType(
    {row[0]: SOPClass(*row) for row in _registry.SOP_CLASSES}
)
TRANSFER_SYNTAXES: Final[Mapping[str, TransferSyntax]] = MappingProxyType(
    {row[0]: TransferSyntax(*row) for row in _registry.TRANSFER_SYNTAXES}
)
PRIVATE_STORAGE_SOP_CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    dict(_registry.PRIVATE_STORAGE_SOP_CLASSES)
)

UNCOMPRESSED_TRANSFER_SYNTAXES: Final = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
)

# What no stored data set has: JPIP names pixels elsewhere, SMPTE ST 2110 is real-time, MIME and XML are no
# data sets, Papyrus 3 is a file format of its own.
_NOT_STORED: Final = frozenset(
    {
        "1.2.840.10008.1.2.4.94",
        "1.2.840.10008.1.2.4.95",
        "1.2.840.10008.1.2.4.204",
        "1.2.840.10008.1.2.4.205",
        "1.2.840.10008.1.2.6.1",
        "1.2.840.10008.1.2.6.2",
        "1.2.840.10008.1.2.7.1",
        "1.2.840.10008.1.2.7.2",
        "1.2.840.10008.1.2.7.3",
        "1.2.840.10008.1.20",
    }
)
STORAGE_TRANSFER_SYNTAXES: Final[tuple[str, ...]] = tuple(
    uid for uid in TRANSFER_SYNTAXES if uid not in _NOT_STORED
)

_OTHER_NAMES: Final = {
    APPLICATION_CONTEXT: "DICOM Application Context Name",
    STORAGE_SERVICE_CLASS: "Storage Service Class",
}
_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)


def storage_sop_classes() -> tuple[str, ...]:
    """UIDs of every storage SOP class of the registry, retired ones too, in its order."""
    return tuple(uid for uid, row in SOP_CLASSES.items() if row.storage)


def name_of(uid: str) -> str:
    """Words for logs: the registered or well-known private name, else the UID itself."""
    row = SOP_CLASSES.get(uid) or TRANSFER_SYNTAXES.get(uid)
    if row is not None:
        return row.name if row.keyword else uid  # two retired rows lost name and keyword
    return PRIVATE_STORAGE_SOP_CLASSES.get(uid) or _OTHER_NAMES.get(uid, uid)


def is_valid_uid(text: str) -> bool:
    """Whether this is `[0-9.]{1,64}` without empty components (PS3.5 9.1).

    Leading zeros are against the standard and in the field, so they are allowed here.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def search(words: str | Iterable[str] = (), *, edition: str = EDITIONS[-1]) -> tuple[SOPClass, ...]:
    """SOP classes and meta SOP classes in which every word occurs, in registry order.

    Args:
        words: text split at blanks, or words; each, whatever its case, must be part of the UID, the name,
            the keyword or the service class. None at all: the whole table.
        edition: "2025" or "2026"; an edition's letter ("2025e") is not looked at.

    Raises: ValueError, when the edition is unknown.
    """
    year = edition[:4]
    if year not in EDITIONS:
        raise ValueError(f"edition {edition!r} is unknown; known: {', '.join(EDITIONS)}")
    wanted = _folded(words)
    return tuple(
        row
        for row in SOP_CLASSES.values()
        if row.edition <= year
        and _has(wanted, row.uid, row.name, row.keyword, row.service_class, "retired" if row.retired else "")
    )


def search_transfer_syntaxes(words: str | Iterable[str] = ()) -> tuple[TransferSyntax, ...]:
    """Transfer syntaxes in which every word occurs, in registry order; no word at all: all 63."""
    wanted = _folded(words)
    return tuple(
        row
        for row in TRANSFER_SYNTAXES.values()
        if _has(wanted, row.uid, row.name, row.keyword, row.codec, "retired" if row.retired else "")
    )


def _folded(words: str | Iterable[str]) -> list[str]:
    parts = words.split() if isinstance(words, str) else words
    return [word.casefold() for word in parts]


def _has(words: list[str], *fields: str) -> bool:
    text = "\n".join(fields).casefold()
    return all(word in text for word in words)
