"""Types of single settings: sizes with units, AE titles, UIDs, addresses, times (PS3.5 6.2, 9.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from dicomwire.dicom.charset import character_set
from dicomwire.work.hl7_character_sets import CHARACTER_SETS

_SIZES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SIZE = re.compile(r"\s*(\d+)\s*([a-zA-Z]+)\s*")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^/@?#\s]+")


def _size(value: object) -> object:
    """`"256 KiB"` as bytes; anything else is left to the integer's own validation."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        unit = _SIZES.get(match[2].lower())
        if unit is None:
            raise ValueError(f"unknown unit {match[2]!r}: use one of B, KB, MB, GB, KiB, MiB, GiB")
        return int(match[1]) * unit
    return value


def _ae_title(value: str) -> str:
    """An AE value (PS3.5 6.2): 1 to 16 printable ASCII characters, no backslash, not only spaces."""
    title = value.strip(" \0")
    if not 1 <= len(title) <= 16:
        raise ValueError(f"an AE title has 1 to 16 characters, this one {len(title)}")
    if not all(" " <= character <= "~" and character != "\\" for character in title):
        raise ValueError("an AE title has printable ASCII characters and no backslash")
    return title


def _uid(value: str) -> str:
    uid = value.strip(" \0")
    if len(uid) > 64 or not _UID.fullmatch(uid):
        raise ValueError("a UID has at most 64 digits and dots and no empty component")
    return uid


def _origin(value: str) -> str:
    """An origin as browsers send it (RFC 6454 7.1), or `*` for all."""
    if not _ORIGIN.fullmatch(value):
        raise ValueError("should be SCHEME://HOST[:PORT] without a path, or * for all origins")
    return value.lower()


def one_of(*schemes: str) -> Callable[[str], str]:
    """A check of a value that is one of a few words or begins with the scheme of a URL."""

    def check(value: str) -> str:
        if value in schemes or any(
            scheme.endswith("://") and len(value) > len(scheme) and value.startswith(scheme)
            for scheme in schemes
        ):
            return value
        raise ValueError(
            "should be "
            + " or ".join(f"{scheme}..." if scheme.endswith("://") else repr(scheme) for scheme in schemes)
        )

    return check


def _uid_or_any(value: str) -> str:
    return value if value == "*" else _uid(value)


def _character_set(value: str) -> str:
    """A value of Specific Character Set (0008,0005): defined terms, with backslashes between them."""
    unknown = character_set(value.encode("ascii", "replace")).unknown
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no Specific Character Set (PS3.3 C.12.1.1.2)")
    return value.strip()


def _hl7_character_set(value: str) -> str:
    """A value of HL7 table 0211, as MSH-18 has it."""
    name = value.strip().upper()
    if name not in CHARACTER_SETS:
        raise ValueError(f"{value!r} is none of {', '.join(filter(None, CHARACTER_SETS))}")
    return name


def _host(value: str) -> str:
    host = value.strip()
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


Size = Annotated[int, BeforeValidator(_size), Field(ge=0)]
AETitle = Annotated[str, AfterValidator(_ae_title)]
UID = Annotated[str, AfterValidator(_uid)]
UIDOrAny = Annotated[str, AfterValidator(_uid_or_any)]
CharacterSet = Annotated[str, AfterValidator(_character_set)]
HL7CharacterSet = Annotated[str, AfterValidator(_hl7_character_set)]
Host = Annotated[str, AfterValidator(_host), Field(min_length=1)]
Origin = Annotated[str, AfterValidator(_origin)]
Port = Annotated[int, Field(ge=0, le=65535)]
PeerPort = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400 * 7, allow_inf_nan=False)]
# 0 is unlimited; below 8 not even one byte of data fits beside a PDV's header (PS3.8 D.1).
MaximumLength = Annotated[Size, Field(le=0xFFFFFFFF)]
