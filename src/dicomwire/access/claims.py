"""What credentials say of themselves, unproved: for logs, and for the reason of a refusal (PS3.7 D.3.3.7)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dicomwire.access import kerberos, saml
from dicomwire.errors import CredentialsError

KERBEROS, SAML, JWT = 3, 4, 5  # User-Identity-Type

LONGEST = 200  # characters of one fact
LATEST = 253_402_300_799  # seconds since 1970 of the last moment that a datetime can be


@dataclass(frozen=True, slots=True)
class Claims:
    """What credentials say.

    Attributes:
        name: the user; "" where it is not said in clear.
        facts: the rest, by name; `unreadable` where they are not what their type says, and why.
    """

    name: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def words(self) -> str:
        """The facts in one line."""
        return ", ".join(f"{name} {value}" for name, value in self.facts.items())


def claims(type: int, primary: bytes) -> Claims:
    """What a ticket, an assertion or a token says; nothing for other types.

    Args:
        type: User-Identity-Type.
        primary: the primary field.
    """
    read = _READERS.get(type)
    if read is None:
        return Claims()
    try:
        name, facts = read(primary)
    except CredentialsError as error:
        return Claims(facts={"unreadable": str(error)})
    return Claims(name[:LONGEST], {key: value[:LONGEST] for key, value in facts.items() if value})


def _kerberos(data: bytes) -> tuple[str, dict[str, str]]:
    ticket = kerberos.decode(data)
    facts = {
        "realm": ticket.realm,
        "service": ticket.service,
        "encryption": ticket.encryption,
        "key version": "" if ticket.key_version is None else str(ticket.key_version),
    }
    return "", facts


def _saml(data: bytes) -> tuple[str, dict[str, str]]:
    assertion = saml.decode(data.rstrip(b"\0"))
    facts = {
        "issuer": assertion.issuer,
        "subject": assertion.subject,
        "not before": _iso(assertion.not_before),
        "not on or after": _iso(assertion.not_on_or_after),
        "audience": " ".join(assertion.audiences),
        "signature": "not verified" if assertion.signed else "none",
    }
    return assertion.subject, facts


def _jwt(data: bytes) -> tuple[str, dict[str, str]]:
    parts = data.rstrip(b"\0 ").split(b".")
    if len(parts) != 3:
        raise CredentialsError(f"token of {len(parts)} parts, a signed one has 3 (RFC 7515 3.1)")
    try:
        content = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise CredentialsError("token whose claims are no JSON", len(parts[0]) + 1) from None
    if not isinstance(content, dict):
        raise CredentialsError("token whose claims are no JSON object", len(parts[0]) + 1)
    name = content.get("sub")
    expires = content.get("exp")
    audience = content.get("aud", "")
    facts = {
        "issuer": str(content.get("iss", "")),
        "subject": str(content.get("sub", "")),
        "audience": " ".join(map(str, audience)) if isinstance(audience, list) else str(audience),
    }
    if isinstance(expires, int | float) and 0 <= expires <= LATEST:
        facts["expires"] = _iso(datetime.fromtimestamp(expires, UTC))
    return name if isinstance(name, str) else "", facts


def _iso(time: datetime | None) -> str:
    return "" if time is None else time.isoformat().replace("+00:00", "Z")


_READERS: dict[int, Callable[[bytes], tuple[str, dict[str, str]]]] = {
    KERBEROS: _kerberos,
    SAML: _saml,
    JWT: _jwt,
}
