"""Service tickets: read in every wrapping, and refused by the name of what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.access.kerberos import Ticket, decode
from dicomwire.errors import CredentialsError
from tests.access.vectors import AP_REQ, GSS_API, TICKET, ap_req, gss_api, ticket


@pytest.mark.parametrize(
    ("data", "authenticated"), [(TICKET, False), (AP_REQ, True), (GSS_API, True), (AP_REQ + b"\0", True)]
)
def test_ticket_says_its_realm_service_and_encryption(data: bytes, authenticated: bool) -> None:
    read = decode(data)
    assert read == Ticket("EXAMPLE.ORG", "dicom/pacs.example.org", 18, 3, authenticated)
    assert read.encryption == "aes256-cts-hmac-sha1-96"


def test_key_version_is_optional_and_encryption_types_may_be_negative() -> None:
    read = decode(ticket(etype=b"\x80", kvno=b""))
    assert (read.encryption_type, read.key_version) == (-128, None)
    assert read.encryption == "encryption type -128"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "neither a ticket"),
        (b"\x60\x03\x06\x01\x2a", "another mechanism"),
        (gss_api(AP_REQ, mechanism="2b0601050502"), "another mechanism"),
        (ticket(version=4), "tkt-vno is 4, 5 is wanted"),
        (ap_req(TICKET, message_type=15), "msg-type is 15, 14 is wanted"),
        (ap_req(b"\x30\x00"), "Ticket: tag 30H, tag 61H is wanted"),
        (b"\x61\x80\x00\x00", "no definite length"),
        (b"\x61\x05\x30", "Ticket says 5 bytes, 1 remain"),
    ],
)
def test_what_is_no_ticket_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        decode(data)
    assert words in str(caught.value)


@pytest.mark.parametrize("whole", [TICKET, AP_REQ, GSS_API], ids=["ticket", "AP-REQ", "GSS-API"])
def test_ticket_cut_at_any_byte_is_refused(whole: bytes) -> None:
    for length in range(len(whole)):
        with pytest.raises(CredentialsError):
            decode(whole[:length])


@given(st.binary(max_size=64), st.integers(0, len(AP_REQ)))
def test_any_bytes_are_a_ticket_or_refused(data: bytes, start: int) -> None:
    try:
        decode(AP_REQ[:start] + data + AP_REQ[start + len(data) :])
    except CredentialsError:
        return
