"""As much of an X.509 certificate as a diagnosis needs: names, validity, who signed (RFC 5280 4.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final, NamedTuple

from dicomwire.errors import DecodeError

_SEQUENCE, _SET, _OID, _EXPLICIT_0, _EXPLICIT_3 = 0x30, 0x31, 0x06, 0xA0, 0xA3
_COMMON_NAME: Final = bytes.fromhex("550403")
_SUBJECT_ALTERNATIVE_NAME: Final = bytes.fromhex("551d11")
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says.

    Attributes:
        subject: its common name.
        issuer: the common name of who signed it.
        self_signed: subject and issuer are the same.
        not_before, not_after: seconds since 1970.
        names: DNS names and addresses that it is for.
    """

    subject: str
    issuer: str
    self_signed: bool
    not_before: float
    not_after: float
    names: tuple[str, ...]

    def covers(self, name: str) -> bool:
        """Whether it is for a host, a leftmost `*` included (RFC 6125 6.4)."""
        wanted = name.lower()
        names = {one.lower() for one in self.names or (self.subject,)}
        return wanted in names or "*." + wanted.partition(".")[2] in names


class _Value(NamedTuple):
    tag: int
    start: int
    end: int


def _values(data: bytes, start: int, end: int) -> Iterator[_Value]:
    """DER values one after the other."""
    while start < end:
        if start + 2 > end:
            raise DecodeError("certificate: a DER value is cut", start)
        tag, length = data[start], data[start + 1]
        start += 2
        if length & 0x80:
            size = length & 0x7F
            if size > 4 or start + size > end:
                raise DecodeError("certificate: a DER length is cut", start)
            length = int.from_bytes(data[start : start + size], "big")
            start += size
        if length > end - start:
            raise DecodeError(f"certificate: {length} bytes said, {end - start} remain", start)
        yield _Value(tag, start, start + length)
        start += length


def _first(data: bytes, outer: _Value) -> _Value:
    found = next(_values(data, outer.start, outer.end), None)
    if found is None:
        raise DecodeError("certificate: a DER value is empty", outer.start)
    return found


def read_certificate(data: bytes) -> Certificate:
    """Read a DER certificate.

    Raises: DecodeError, when it is none.
    """
    try:
        whole = _first(data, _Value(0, 0, len(data)))
        signed = _first(data, whole)
        fields = list(_values(data, signed.start, signed.end))
        fields = fields[1:] if fields[0].tag == _EXPLICIT_0 else fields
        issuer, validity, subject = fields[2], fields[3], fields[4]
        before, after = list(_values(data, validity.start, validity.end))[:2]
        extensions = next((one for one in fields if one.tag == _EXPLICIT_3), None)
        return Certificate(
            _common_name(data, subject),
            _common_name(data, issuer),
            data[subject.start : subject.end] == data[issuer.start : issuer.end],
            _time(data, before),
            _time(data, after),
            tuple(_alternative_names(data, extensions)) if extensions else (),
        )
    except (IndexError, ValueError) as error:
        raise DecodeError(f"certificate: {error or 'it ends too early'}", 0) from None


def _common_name(data: bytes, name: _Value) -> str:
    for part in _values(data, name.start, name.end):
        for pair in _values(data, part.start, part.end):
            kind, value = list(_values(data, pair.start, pair.end))[:2]
            if data[kind.start : kind.end] == _COMMON_NAME:
                return data[value.start : value.end].decode("utf-8", "replace")
    return ""


def _time(data: bytes, value: _Value) -> float:
    text = data[value.start : value.end].decode("ascii")
    if value.tag == 0x17:  # UTCTime: 50 and later are of the 20th century
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()


def _alternative_names(data: bytes, extensions: _Value) -> Iterator[str]:
    listed = _first(data, extensions)
    for extension in _values(data, listed.start, listed.end):
        parts = list(_values(data, extension.start, extension.end))
        if data[parts[0].start : parts[0].end] != _SUBJECT_ALTERNATIVE_NAME:
            continue
        names = _first(data, parts[-1])
        for name in _values(data, names.start, names.end):
            if name.tag == _DNS_NAME:
                yield data[name.start : name.end].decode("latin-1")
            elif name.tag == _IP_ADDRESS and name.end - name.start in (4, 16):
                yield str(ip_address(data[name.start : name.end]))
