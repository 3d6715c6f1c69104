"""AE titles, addresses and the census, as values."""

from __future__ import annotations

import pytest

from dicomwire.association.admission import Admission, Refusal, admit, is_loopback
from dicomwire.association.options import AcceptorOptions, Check, LocalEntity, PeerRules, Timeouts
from dicomwire.association.words import printable
from dicomwire.upper_layer.pdu import AssociateRj
from tests.association.support import POLICY, associate_rq

OFF = LocalEntity("OPEN", POLICY, Check.OFF)
AUTO = LocalEntity(
    "AUTO", POLICY, peers={"KNOWN": PeerRules(frozenset({"10.0.0.1"}), timeouts=Timeouts(idle=1))}
)
OPTIONS = AcceptorOptions((AUTO, OFF))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("called", "calling", "host", "answer"),
    [
        ("AUTO", "ANYBODY", "127.0.0.1", None),
        ("AUTO", "ANYBODY", "10.0.0.1", AssociateRj(1, 1, 3)),
        ("AUTO", "KNOWN", "10.0.0.1", None),
        ("AUTO", "KNOWN", "10.0.0.2", AssociateRj(1, 1, 3)),
        ("OTHER", "KNOWN", "10.0.0.1", None),
        ("OPEN", "ANYBODY", "10.0.0.1", None),
    ],
)
def test_calling_ae_title_is_checked_off_the_loopback(
    called: str, calling: str, host: str, answer: AssociateRj | None
) -> None:
    verdict = admit(associate_rq(called=called, calling=calling), OPTIONS, host=host, tls=False)
    assert (verdict.answer if isinstance(verdict, Refusal) else None) == answer


def test_rules_of_a_peer_do_not_hold_for_who_merely_uses_its_title() -> None:
    known = admit(associate_rq(called="AUTO", calling="KNOWN"), OPTIONS, host="10.0.0.1", tls=False)
    other = admit(associate_rq(called="AUTO", calling="KNOWN"), OPTIONS, host="127.0.0.1", tls=False)
    assert isinstance(known, Admission)
    assert isinstance(other, Admission)
    assert known.timeouts.idle == 1
    assert other.timeouts.idle == 300
    assert other.peer is None


def test_peer_that_must_use_tls_is_rejected_without() -> None:
    entity = LocalEntity("A", POLICY, peers={"RAW": PeerRules(tls=True)})
    options = AcceptorOptions((entity,))
    assert isinstance(admit(associate_rq(), options, host="127.0.0.1", tls=False), Refusal)
    assert isinstance(admit(associate_rq(), options, host="127.0.0.1", tls=True), Admission)


def test_called_title_is_checked_first() -> None:
    options = AcceptorOptions((LocalEntity("A", POLICY, Check.LIST),), called=Check.LIST)
    verdict = admit(associate_rq(called="B"), options, host="127.0.0.1", tls=False)
    assert isinstance(verdict, Refusal)
    assert verdict.answer == AssociateRj(1, 1, 7)


def test_text_of_a_peer_is_escaped_and_cut() -> None:
    assert printable("PLAIN") == "PLAIN"
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert len(printable("x" * 10_000)) < 600
