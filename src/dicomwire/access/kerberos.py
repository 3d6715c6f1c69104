"""Kerberos service tickets as user identity: what is in clear (PS3.7 D.3.3.7, type 3; RFC 4120 5.3, 5.5.1).

A ticket, an AP-REQ around it, or that in the initial token of GSS-API (RFC 4121 4.1). Who the client is
stands in the encrypted part: only the service's key opens it, and nothing here proves anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicomwire.access.der import APPLICATION, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, Reader
from dicomwire.errors import CredentialsError

VERSION = 5
TICKET = APPLICATION | 1
AP_REQ = APPLICATION | 14
GSS_API = APPLICATION | 0
KERBEROS_MECHANISM = bytes.fromhex("2a864886f712010202")  # 1.2.840.113554.1.2.2 (RFC 4121 4.1)
AP_REQ_TOKEN = b"\x01\x00"  # TOK_ID
MOST_COMPONENTS = 16  # of a principal's name; real ones have one to three

ENCRYPTION_TYPES = {  # IANA, Kerberos Encryption Type Numbers
    1: "des-cbc-crc",
    2: "des-cbc-md4",
    3: "des-cbc-md5",
    16: "des3-cbc-sha1-kd",
    17: "aes128-cts-hmac-sha1-96",
    18: "aes256-cts-hmac-sha1-96",
    19: "aes128-cts-hmac-sha256-128",
    20: "aes256-cts-hmac-sha384-192",
    23: "rc4-hmac",
    24: "rc4-hmac-exp",
    25: "camellia128-cts-cmac",
    26: "camellia256-cts-cmac",
}


@dataclass(frozen=True, slots=True)
class Ticket:
    """A service ticket's clear part.

    Attributes:
        realm: of the service.
        service: its principal, such as `dicom/pacs.example.org`.
        encryption_type: number of the encryption of the rest, see `ENCRYPTION_TYPES`.
        key_version: of the service's key, None where the ticket does not say.
        authenticated: it came in an AP-REQ, with an authenticator beside it.
    """

    realm: str
    service: str
    encryption_type: int
    key_version: int | None
    authenticated: bool

    @property
    def encryption(self) -> str:
        """The encryption type's name, its number where it has none here."""
        return ENCRYPTION_TYPES.get(self.encryption_type, f"encryption type {self.encryption_type}")


def decode(data: bytes) -> Ticket:
    """Read a ticket, alone or in an AP-REQ.

    Raises: CredentialsError, which names the field.
    """
    reader = Reader(data)
    if reader.peek() == GSS_API:
        reader = reader.enter(GSS_API, "GSS-API token")
        if reader.enter(OBJECT_IDENTIFIER, "GSS-API mechanism").rest() != KERBEROS_MECHANISM:
            raise CredentialsError("GSS-API token of another mechanism than Kerberos", field="thisMech")
        start = reader.position
        token = reader.rest()
        if not token.startswith(AP_REQ_TOKEN):
            raise CredentialsError("GSS-API token that holds no AP-REQ", start, field="TOK_ID")
        reader = Reader(data, start + len(AP_REQ_TOKEN), start + len(token))
    if reader.peek() == AP_REQ:
        return _ap_req(reader)
    if reader.peek() == TICKET:
        return _ticket(reader, authenticated=False)
    raise CredentialsError("neither a ticket (tag 61H) nor an AP-REQ (tag 6EH)", reader.position, field="tag")


def _ap_req(reader: Reader) -> Ticket:
    body = reader.enter(AP_REQ, "AP-REQ").enter(SEQUENCE, "AP-REQ")
    _number(body, 0, "pvno", VERSION)
    _number(body, 1, "msg-type", AP_REQ - APPLICATION)
    _inside(body, 2, "ap-options")
    return _ticket(_inside(body, 3, "ticket"), authenticated=True)


def _ticket(reader: Reader, *, authenticated: bool) -> Ticket:
    body = reader.enter(TICKET, "Ticket").enter(SEQUENCE, "Ticket")
    _number(body, 0, "tkt-vno", VERSION)
    realm = _inside(body, 1, "realm").text("realm")
    name = _inside(body, 2, "sname").enter(SEQUENCE, "sname")
    _inside(name, 0, "name-type")
    strings = _inside(name, 1, "name-string").enter(SEQUENCE, "name-string")
    components: list[str] = []
    while strings:
        if len(components) == MOST_COMPONENTS:
            raise CredentialsError(
                f"principal of more than {MOST_COMPONENTS} components", strings.position, field="name-string"
            )
        components.append(strings.text("name-string"))
    part = _inside(body, 3, "enc-part").enter(SEQUENCE, "enc-part")
    encryption_type = _inside(part, 0, "etype").integer("etype")
    version = part.context(1, "kvno")
    key_version = version.integer("kvno") if version is not None else None
    _inside(part, 2, "cipher").enter(OCTET_STRING, "cipher")
    return Ticket(realm, "/".join(components), encryption_type, key_version, authenticated)


def _inside(reader: Reader, number: int, field: str) -> Reader:
    """The field that must come next."""
    position = reader.position
    inside = reader.context(number, field)
    if inside is None:
        raise CredentialsError(f"{field} [{number}] is missing", position, field=field)
    return inside


def _number(reader: Reader, number: int, field: str, wanted: int) -> None:
    position = reader.position
    found = _inside(reader, number, field).integer(field)
    if found != wanted:
        raise CredentialsError(f"{field} is {found}, {wanted} is wanted", position, field=field)
