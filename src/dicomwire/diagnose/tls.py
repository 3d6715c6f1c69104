"""TLS as a bystander sees it: hellos, alerts, certificates, sizes of records (RFC 8446, 5246).

Nothing is decrypted. In TLS 1.3 all behind the ServerHello is encrypted; an alert is told by its length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dicomwire.diagnose.certificate import Certificate, read_certificate
from dicomwire.diagnose.finding import Side
from dicomwire.diagnose.stream import NOTHING_MORE
from dicomwire.errors import DecodeError

LONGEST_RECORD: Final = 16_384 + 2_048
LONGEST_HANDSHAKE: Final = 65_536  # bytes kept of one side's plain handshake
RECORDS: Final = 64  # remembered of each side

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, CERTIFICATE_REQUEST = 1, 2, 11, 13

# Bytes of an encrypted alert's record: in TLS 1.3 two of alert, one of type, 16 of tag; in 1.2 with AES-GCM
# eight of nonce, two, 16.
ENCRYPTED_ALERT: Final = {0x0304: frozenset({19}), 0x0303: frozenset({26, 18, 32, 48, 64})}

VERSIONS: Final = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}
ALERTS: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    112: "unrecognized_name",
    116: "certificate_required",
    120: "no_application_protocol",
}


class Alert(NamedTuple):
    """An alert that could be read."""

    level: int
    description: int
    time: float
    frame: int

    @property
    def words(self) -> str:
        return ALERTS.get(self.description, f"alert {self.description}")


class Record(NamedTuple):
    """A record's type and length."""

    type: int
    length: int
    time: float
    frame: int


@dataclass(slots=True)
class Hello:
    """What a ClientHello or ServerHello says.

    Attributes:
        versions: offered (client) or chosen (server).
        server_name: the name asked for, "" without.
        protocols: ALPN.
    """

    versions: tuple[int, ...] = ()
    server_name: str = ""
    protocols: tuple[str, ...] = ()
    frame: int = 0
    time: float = 0.0


@dataclass(slots=True)
class TLSStream:
    """What one side sends, record by record.

    Attributes:
        side: who.
        hello: its hello.
        alerts: those that are not encrypted.
        records: the first ones.
        encrypted: records since encryption began.
        last: the last record.
        certificate: the server's, of TLS 1.2 and before.
        certificates: how many it showed; None where that is not visible.
        asks_for_certificate: a CertificateRequest was seen.
        broken: what came was no record.
    """

    side: Side
    hello: Hello | None = None
    alerts: list[Alert] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    encrypted: int = 0
    last: Record | None = None
    certificate: Certificate | None = None
    certificates: int | None = None
    asks_for_certificate: bool = False
    broken: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _handshake: bytearray = field(default_factory=bytearray)
    _ciphered: bool = False

    def receive(self, view: memoryview, offset: int, time: float, frame: int) -> int:
        """Bytes of the stream, in order; nothing of application data is kept."""
        self._buffer += view
        while len(self._buffer) >= 5 and not self.broken:
            kind, length = self._buffer[0], int.from_bytes(self._buffer[3:5], "big")
            if not CHANGE_CIPHER_SPEC <= kind <= 24 or length > LONGEST_RECORD or self._buffer[1] != 3:
                self.broken = True
                break
            if len(self._buffer) < 5 + length:
                break
            body = bytes(self._buffer[5 : 5 + length])
            del self._buffer[: 5 + length]
            self._record(Record(kind, length, time, frame), body)
        if self.broken:
            self._buffer.clear()
            return NOTHING_MORE
        return 0

    def missing(self, offset: int, count: int, time: float, frame: int) -> bool:
        self.broken = True
        return False

    def _record(self, record: Record, body: bytes) -> None:
        self.last = record
        if len(self.records) < RECORDS:
            self.records.append(record)
        if record.type == CHANGE_CIPHER_SPEC:
            self._ciphered = True
        elif record.type == APPLICATION_DATA or self._ciphered:
            self.encrypted += 1
        elif record.type == ALERT and len(body) == 2:
            if len(self.alerts) < RECORDS:
                self.alerts.append(Alert(body[0], body[1], record.time, record.frame))
        elif record.type == HANDSHAKE and len(self._handshake) + len(body) <= LONGEST_HANDSHAKE:
            self._handshake += body
            self._messages(record)

    def _messages(self, record: Record) -> None:
        while len(self._handshake) >= 4:
            length = int.from_bytes(self._handshake[1:4], "big")
            if len(self._handshake) < 4 + length:
                return
            kind, body = self._handshake[0], bytes(self._handshake[4 : 4 + length])
            del self._handshake[: 4 + length]
            try:
                self._message(kind, body, record)
            except (IndexError, DecodeError, ValueError):
                continue

    def _message(self, kind: int, body: bytes, record: Record) -> None:
        if kind in (CLIENT_HELLO, SERVER_HELLO):
            self.hello = _hello(kind, body)
            self.hello.frame, self.hello.time = record.frame, record.time
        elif kind == CERTIFICATE:
            self.certificates = 0
            if len(body) >= 6:
                self.certificates = 1
                size = int.from_bytes(body[3:6], "big")
                self.certificate = read_certificate(body[6 : 6 + size])
        elif kind == CERTIFICATE_REQUEST:
            self.asks_for_certificate = True


def _hello(kind: int, body: bytes) -> Hello:
    """A hello; versions are those of the supported_versions extension where there is one (RFC 8446 4.2.1)."""
    version = int.from_bytes(body[:2], "big")
    at = 34 + 1 + body[34]
    if kind == CLIENT_HELLO:
        at += 2 + int.from_bytes(body[at : at + 2], "big")
        at += 1 + body[at]
    else:
        at += 3
    hello = Hello((version,))
    at += 2
    while at + 4 <= len(body):
        extension, size = (
            int.from_bytes(body[at : at + 2], "big"),
            int.from_bytes(body[at + 2 : at + 4], "big"),
        )
        data = body[at + 4 : at + 4 + size]
        at += 4 + size
        if extension == 0 and len(data) > 5:
            hello.server_name = data[5:].decode("latin-1")
        elif extension == 16 and len(data) > 2:
            hello.protocols = tuple(_names(data[2:]))
        elif extension == 43:
            words = data[1:] if kind == CLIENT_HELLO else data
            pairs = [int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words) - 1, 2)]
            hello.versions = tuple(one for one in pairs if one in VERSIONS) or hello.versions
    if kind == CLIENT_HELLO and hello.versions == (version,):
        hello.versions = tuple(one for one in VERSIONS if one <= version)
    return hello


def _names(data: bytes) -> list[str]:
    names, at = [], 0
    while at < len(data):
        names.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return names
