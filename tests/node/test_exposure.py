"""What may listen where."""

from __future__ import annotations

import pytest

from dicomwire.node.exposure import is_loopback, refusals
from dicomwire.node.settings import Settings

PUBLIC = "0.0.0.0"
PEER = {"ae_title": "A"}
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g"
LOGIN = {"required": True, "users": [{"name": "ann", "password": HASH}]}
TLS = {"certificate": "cert.pem", "key": "key.pem"}


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({}, []),
        ({"dimse": {"host": "::1"}, "web": {"host": "localhost"}}, []),
        ({"dimse": {"host": PUBLIC}, "web": {"host": PUBLIC}}, ["dimse.host", "web.host"]),
        ({"dimse": {"host": PUBLIC}}, ["dimse.host"]),
        ({"web": {"host": "::"}}, ["web.host"]),
        ({"web": {"host": "pacs.example.org"}}, ["web.host"]),
        ({"dimse": {"host": PUBLIC}, "peers": [PEER]}, []),
        ({"dimse": {"host": PUBLIC, "calling_ae_title": "off"}, "peers": [PEER]}, ["dimse.host"]),
        ({"web": {"host": PUBLIC}, "peers": [PEER]}, ["web.host"]),
        ({"dimse": {"host": PUBLIC, "tls": TLS}}, []),
        ({"web": {"host": PUBLIC, "tls": TLS}}, []),
        ({"dimse": {"host": PUBLIC}, "web": {"host": PUBLIC}, "identity": LOGIN}, []),
        ({"dimse": {"host": PUBLIC}, "web": {"host": PUBLIC}, "node": {"open": True}}, []),
    ],
)
def test_a_public_address_needs_a_list_tls_a_login_or_open(
    values: dict[str, object], refused: list[str]
) -> None:
    reasons = refusals(Settings.model_validate(values))
    assert [reason.split()[0] for reason in reasons] == refused
    assert all("--open" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("h", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
