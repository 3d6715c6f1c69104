"""A DIMSE peer's address as people write it: `AE@HOST:PORT` (PS3.5 6.2 for the AE title)."""

from __future__ import annotations

from dataclasses import dataclass

from dicomwire.errors import DicomwireError

EXAMPLE = "write it AE@HOST:PORT, as in ORTHANC@127.0.0.1:4242"


class AddressError(DicomwireError, ValueError):
    """A peer's address that cannot be read; the message says which part and what was expected."""


@dataclass(frozen=True, slots=True)
class Address:
    """A DIMSE peer.

    Attributes:
        ae_title: the called AE title, 1 to 16 characters.
        host: a name or a numeric address, IPv6 without brackets.
        port: 1 to 65535.
    """

    ae_title: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"


def parse(text: str) -> Address:
    """Read `AE@HOST:PORT`, `AE@[::1]:104`.

    Raises: AddressError.
    Source: PS3.5 6.2 for the AE title; RFC 3986 3.2.2 for the brackets.
    """
    ae_title, at, endpoint = text.rpartition("@")
    if not at:
        raise AddressError(f"{text!r} names no AE title: {EXAMPLE}")
    _check_ae_title(ae_title, text)
    if endpoint.startswith("["):
        host, bracket, rest = endpoint[1:].partition("]")
        if not bracket or ":" not in host:
            raise AddressError(f"{text!r}: brackets hold an IPv6 address, as in AE@[::1]:104")
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = endpoint.rpartition(":")
        if ":" in host:
            raise AddressError(f"{text!r}: an IPv6 address stands in brackets, as in AE@[::1]:104")
    if colon != ":" or not port:
        raise AddressError(f"{text!r} names no port: {EXAMPLE}")
    if not host or any(character.isspace() or character in "/@" for character in host):
        raise AddressError(f"{text!r} names no host: {EXAMPLE}")
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535 and len(port) <= 5):
        raise AddressError(f"{text!r}: {port!r} is no port, which is a number from 1 to 65535")
    return Address(ae_title.strip(" "), host, int(port))


def _check_ae_title(ae_title: str, text: str) -> None:
    title = ae_title.strip(" ")
    if not title:
        raise AddressError(f"{text!r} names no AE title: {EXAMPLE}")
    if len(title) > 16:
        raise AddressError(f"{text!r}: an AE title has at most 16 characters, this one {len(title)}")
    if not all(" " <= character <= "~" and character != "\\" for character in title):
        raise AddressError(f"{text!r}: an AE title has printable ASCII characters and no backslash")
