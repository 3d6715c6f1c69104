"""Assertions: what they say, and that nothing is expanded or fetched."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.access.saml import Assertion, decode
from dicomwire.errors import CredentialsError
from tests.access.vectors import ASSERTION


def test_assertion_says_issuer_subject_times_and_audience() -> None:
    assert decode(ASSERTION) == Assertion(
        "https://idp.example.org",
        "carla",
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 14, 5, tzinfo=UTC),
        ("urn:pacs", "urn:ris"),
        signed=False,
    )


def test_signature_is_seen_and_an_encrypted_subject_is_none() -> None:
    signature = b'<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><Issuer>evil</Issuer></Signature>'
    data = ASSERTION.replace(b"</saml:Issuer>", b"</saml:Issuer>" + signature)
    data = data.replace(b"saml:NameID", b"saml:EncryptedID")
    read = decode(data)
    assert (read.issuer, read.subject, read.signed) == ("https://idp.example.org", "", True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no XML"),
        (b"ticket", "no XML"),
        (ASSERTION[:-20], "no XML"),
        (b"<Assertion/>", "Assertion of no namespace, Assertion of SAML 2.0 is wanted"),
        (ASSERTION.replace(b"SAML:2.0", b"SAML:1.0"), "Assertion of SAML 1.1"),
        (ASSERTION.replace(b"Assertion", b"EncryptedAssertion"), "EncryptedAssertion of SAML 2.0"),
        (ASSERTION.replace(b'Version="2.0"', b'Version="1.1"'), "version '1.1'"),
        (ASSERTION.replace(b"saml:Issuer", b"saml:Other"), "without an Issuer"),
        (ASSERTION.replace(b'NotBefore="2026', b'NotBefore="yesterday'), "is no time"),
        (ASSERTION.replace(b"03:14:05Z", b"03:14:05+99:00"), "is no time"),
        (ASSERTION.replace(b"UTF-8", b"klingon"), "encoding"),
        (ASSERTION.replace(b"carla", b"&someone;"), "no XML: undefined entity"),
        (ASSERTION.replace(b"carla", b"<saml:x>" * 70 + b"</saml:x>" * 70), "more than 64 elements"),
        (bytes(70_000), "65535 are the most"),
    ],
)
def test_what_is_no_assertion_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        decode(data)
    assert words in str(caught.value)


def test_document_type_is_refused_before_any_entity_is() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;"><!ENTITY d SYSTEM "file:///etc/passwd">]>'
    head, _, body = ASSERTION.partition(b"\n")
    with pytest.raises(CredentialsError, match="document type"):
        decode(head + bomb + body.replace(b"carla", b"&d;&c;"))


@given(st.binary(max_size=64), st.integers(0, len(ASSERTION)))
def test_any_bytes_are_an_assertion_or_refused(data: bytes, start: int) -> None:
    try:
        decode(ASSERTION[:start] + data + ASSERTION[start + len(data) :])
    except CredentialsError:
        return
