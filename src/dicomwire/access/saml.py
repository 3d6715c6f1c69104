"""SAML 2.0 assertions as user identity: what they say (PS3.7 D.3.3.7, type 4; SAML Core 2.3, 2.4, 2.5).

The signature is not verified, so nothing here proves anything. The XML is read without a document type: no
entity is declared, none is expanded, nothing is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from xml.parsers import expat

from dicomwire.errors import CredentialsError

NAMESPACE = "urn:oasis:names:tc:SAML:2.0:assertion"
OLD_NAMESPACE = "urn:oasis:names:tc:SAML:1.0:assertion"
SIGNATURE = "http://www.w3.org/2000/09/xmldsig# Signature"
LONGEST = 0xFFFF  # bytes; item 58H can hold no more
DEEPEST = 64  # elements in each other
MOST_AUDIENCES = 32

_ROOT = f"{NAMESPACE} Assertion"


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an assertion says.

    Attributes:
        issuer: who made it.
        subject: whom it is about, its NameID; "" where it is encrypted or not said.
        not_before, not_on_or_after: its Conditions, None where they do not say.
        audiences: whom it is for; empty for anybody.
        signed: it has a signature of its own, verified or not.
    """

    issuer: str
    subject: str
    not_before: datetime | None
    not_on_or_after: datetime | None
    audiences: tuple[str, ...]
    signed: bool


def decode(data: bytes) -> Assertion:
    """Read an assertion.

    Raises: CredentialsError, when it is too long, no XML, has a document type, or is no SAML 2.0 assertion.
    """
    if len(data) > LONGEST:
        raise CredentialsError(f"assertion of {len(data)} bytes, {LONGEST} are the most")
    return _Reader().read(data)


class _Reader:
    """Collects what is wanted while the parser walks over the elements."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text: list[str] = []
        self._issuer = ""
        self._subject = ""
        self._conditions: dict[str, str] = {}
        self._audiences: list[str] = []
        self._signed = False
        self._parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append

    def read(self, data: bytes) -> Assertion:
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise CredentialsError(f"no XML: {error}", self._at()) from None
        except (ValueError, LookupError) as error:
            raise CredentialsError(f"XML in an encoding that is not known: {error}") from None
        if not self._issuer:
            raise CredentialsError("assertion without an Issuer", field="Issuer")
        return Assertion(
            self._issuer,
            self._subject,
            self._time("NotBefore"),
            self._time("NotOnOrAfter"),
            tuple(self._audiences),
            self._signed,
        )

    def _at(self) -> int:
        return max(self._parser.CurrentByteIndex, 0)

    def _doctype(self, name: str, system_id: str | None, public_id: str | None, internal: bool) -> None:
        raise CredentialsError("XML with a document type declaration", self._at())

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path and name != _ROOT:
            raise CredentialsError(f"{_wrong_root(name)}, Assertion of SAML 2.0 is wanted", self._at())
        if not self._path and attributes.get("Version") != "2.0":
            raise CredentialsError(
                f"assertion of version {attributes.get('Version')!r}, '2.0' is wanted", field="Version"
            )
        if len(self._path) == DEEPEST:
            raise CredentialsError(f"XML of more than {DEEPEST} elements in each other", self._at())
        self._path.append(name.removeprefix(NAMESPACE + " "))
        self._text.clear()
        if self._path == ["Assertion", "Conditions"]:
            self._conditions = attributes
        elif self._path == ["Assertion", SIGNATURE]:
            self._signed = True

    def _end(self, name: str) -> None:
        text = "".join(self._text).strip()
        match self._path:
            case ["Assertion", "Issuer"]:
                self._issuer = text
            case ["Assertion", "Subject", "NameID"]:
                self._subject = text
            case ["Assertion", "Conditions", "AudienceRestriction", "Audience"]:
                if len(self._audiences) == MOST_AUDIENCES:
                    raise CredentialsError(f"assertion for more than {MOST_AUDIENCES} audiences", self._at())
                self._audiences.append(text)
        self._path.pop()
        self._text.clear()

    def _time(self, attribute: str) -> datetime | None:
        value = self._conditions.get(attribute)
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(value)
            # SAML Core 1.3.3: times are UTC, whether they say so or not.
            return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise CredentialsError(f"{attribute} {value[:40]!r} is no time", field=attribute) from None


def _wrong_root(name: str) -> str:
    namespace, _, local = name.rpartition(" ")
    known = {NAMESPACE: "SAML 2.0", OLD_NAMESPACE: "SAML 1.1"}
    return f"{local[:40]} of {known.get(namespace, namespace[:80] or 'no namespace')}"
