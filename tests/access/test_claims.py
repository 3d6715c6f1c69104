"""What unproved credentials say of themselves."""

from __future__ import annotations

import base64
import json

import pytest

from dicomwire.access.claims import Claims, claims
from tests.access.vectors import AP_REQ


def jwt(content: object) -> bytes:
    part = base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")
    return b"e30." + part + b".c2ln"


def test_ticket_names_no_user_but_its_service() -> None:
    said = claims(3, AP_REQ)
    assert said.name == ""
    assert said.words() == (
        "realm EXAMPLE.ORG, service dicom/pacs.example.org, encryption aes256-cts-hmac-sha1-96, key version 3"
    )


def test_token_names_its_subject_issuer_audience_and_end() -> None:
    said = claims(5, jwt({"sub": "carla", "iss": "idp", "aud": ["a", "b"], "exp": 1_700_000_000}))
    assert said == Claims(
        "carla",
        {"issuer": "idp", "subject": "carla", "audience": "a b", "expires": "2023-11-14T22:13:20Z"},
    )


@pytest.mark.parametrize(
    "token", [b"", b"a.b", b"e30.!.x", b"e30.bnVsbA.x", b"e30." + base64.b64encode(b"[" * 9000) + b".x"]
)
def test_what_is_no_token_is_unreadable(token: bytes) -> None:
    assert "token" in claims(5, token).facts["unreadable"]


@pytest.mark.parametrize("expires", [1e400, -1, "soon", 1e15, True, None])
def test_time_that_cannot_be_is_left_out(expires: object) -> None:
    assert claims(5, jwt({"sub": "a", "exp": expires})).name == "a"


def test_facts_are_bounded() -> None:
    said = claims(5, jwt({"sub": "a" * 10_000, "iss": "b" * 10_000}))
    assert max(len(said.name), *(len(value) for value in said.facts.values())) <= 200


def test_other_types_say_nothing() -> None:
    assert claims(1, b"eva") == claims(6, b"new") == Claims()
