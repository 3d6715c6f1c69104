"""`[[gateways]]`: what is refused, and which AE titles it gives a node."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dicomwire.access.permission import Permission
from dicomwire.association.options import Check
from dicomwire.node.dimse_door import acceptor_options
from dicomwire.node.login import operation
from dicomwire.node.settings import Settings
from dicomwire.node.web_door import DICOMWEB

PEER = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104}
URL = "https://cloud.example/dicom-web"


@pytest.mark.parametrize(
    ("gateway", "words"),
    [
        ({}, "either a peer or a url"),
        ({"peer": "PACS", "url": URL, "ae_title": "X"}, "either a peer or a url"),
        ({"url": URL}, "needs an ae_title"),
        ({"url": "ftp://x", "ae_title": "X"}, "http"),
        ({"peer": "PACS", "retrieve": "move"}, "needs an ae_title"),
        ({"peer": "OTHER"}, "no .*peers.* with a host"),
        ({"url": URL, "ae_title": "DICOMWIRE"}, "same ae_title"),
        ({"url": URL, "ae_title": "X", "user": "me"}, "belong together"),
        ({"name": "../x", "peer": "PACS"}, "pattern"),
    ],
)
def test_what_cannot_be_is_refused(gateway: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings.model_validate({"peers": [PEER], "gateways": [{"name": "g", **gateway}]})


def test_two_gateways_have_two_names() -> None:
    with pytest.raises(ValidationError, match="same name"):
        Settings.model_validate({"peers": [PEER], "gateways": [{"name": "g", "peer": "PACS"}] * 2})


def test_only_the_peer_may_call_the_title_it_moves_to_and_only_to_store() -> None:
    move = {"name": "a", "peer": "PACS", "retrieve": "move", "ae_title": "CACHE"}
    cloud = {"name": "b", "url": URL, "ae_title": "CLOUD"}
    settings = Settings.model_validate({"peers": [PEER], "gateways": [move, cloud]})
    node, cache, front = acceptor_options(settings).entities
    assert [each.ae_title for each in (node, cache, front)] == ["DICOMWIRE", "CACHE", "CLOUD"]
    assert cache.calling is Check.LIST
    assert set(cache.peers) == {"PACS"}
    finds = {uid for uid, words in cache.policy.refused.items() if "may not find" in words}
    assert finds
    assert not finds & set(front.policy.refused)


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "studies", Permission.FIND),
        ("GET", "studies/1.2/series", Permission.FIND),
        ("GET", "studies/1.2", Permission.GET),
        ("GET", "wado", Permission.GET),
        ("POST", "studies", Permission.STORE),
    ],
)
def test_a_login_may_do_at_a_gateway_what_it_may_do_at_the_node(
    method: str, path: str, needed: Permission
) -> None:
    assert operation(method, f"{DICOMWEB}/gateways/pacs/{path}", f"{DICOMWEB}/") is needed
