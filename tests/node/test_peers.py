"""The devices that instances can be sent to, from the settings."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from dicomwire.association.acceptor import Acceptor
from dicomwire.association.flight import FlightRecorder
from dicomwire.association.options import AcceptorOptions
from dicomwire.association.requestor import Context
from dicomwire.diagnose.finding import Outcome
from dicomwire.errors import ConfigurationError, ConnectionRefused
from dicomwire.node import peers
from dicomwire.node.flight_api import facts, story_of
from dicomwire.node.settings import Settings
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.association.support import entity

CT = Context("1.2.840.10008.5.1.4.1.1.2", (EXPLICIT_VR_LITTLE_ENDIAN,))


def made(**values: object) -> Settings:
    return Settings.model_validate(values)


def opened(monkeypatch: pytest.MonkeyPatch, settings: Settings, *, called_as: str) -> dict[str, object]:
    """What an association with the only peer is requested with."""
    asked: dict[str, object] = {}

    def connect(host: str, port: int, **arguments: object) -> nullcontext[None]:
        asked.update(host=host, port=port, **arguments)
        return nullcontext()

    monkeypatch.setattr(peers, "connect", connect)
    (destination,) = peers.destinations(settings).values()
    assert destination is not None
    destination.open([CT], called_as)
    return asked


def test_a_peer_without_an_address_is_known_and_no_destination() -> None:
    assert peers.destinations(made(peers=[{"ae_title": "CT1"}])) == {"CT1": None}


@pytest.mark.parametrize(
    ("called_as", "calling"), [("RESEARCH", "RESEARCH"), ("DICOMWIRE", "DICOMWIRE"), ("ANY-SCP", "DICOMWIRE")]
)
def test_we_call_with_the_title_that_was_called_where_it_is_ours(
    monkeypatch: pytest.MonkeyPatch, called_as: str, calling: str
) -> None:
    settings = made(
        peers=[{"ae_title": "PACS", "host": "10.0.0.1", "port": 104}], ae_titles=[{"ae_title": "RESEARCH"}]
    )
    asked = opened(monkeypatch, settings, called_as=called_as)
    assert (asked["host"], asked["port"]) == ("10.0.0.1", 104)
    assert (asked["called_ae_title"], asked["calling_ae_title"]) == ("PACS", calling)


def test_the_window_is_proposed_to_peers_that_are_configured_for_it_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = {"ae_title": "PACS", "host": "10.0.0.1", "port": 104, "timeouts": {"dimse": 5}}
    options = opened(monkeypatch, made(peers=[peer]), called_as="X")["options"]
    assert options.window is None
    assert options.timeouts.dimse == 5
    peer["asynchronous_operations"] = {"invoked": 4, "performed": 1}
    assert opened(monkeypatch, made(peers=[peer]), called_as="X")["options"].window == (4, 1)


def test_the_only_syntaxes_of_a_peer_go_with_it() -> None:
    peer = {"ae_title": "PACS", "host": "h", "port": 104, "transfer_syntaxes": [EXPLICIT_VR_LITTLE_ENDIAN]}
    (destination,) = peers.destinations(made(peers=[peer])).values()
    assert destination is not None
    assert destination.transfer_syntaxes == (EXPLICIT_VR_LITTLE_ENDIAN,)


def test_a_missing_certificate_of_a_peer_is_a_configuration_error(tmp_path: Path) -> None:
    tls = {"enabled": True, "ca": str(tmp_path / "absent.pem")}
    peer = {"ae_title": "PACS", "host": "h", "port": 104, "tls": tls}
    with pytest.raises(ConfigurationError, match=r"absent\.pem"):
        peers.destinations(made(peers=[peer]))


async def test_associations_of_ours_are_kept_by_the_flight_recorder() -> None:
    flight = FlightRecorder(10)
    acceptor = Acceptor(AcceptorOptions((entity("CT1"),), port=0), {})
    await acceptor.start()
    peer = {"ae_title": "CT1", "host": "127.0.0.1", "port": acceptor.port}
    (destination,) = peers.destinations(made(peers=[peer]), flight).values()
    assert destination is not None
    try:
        async with destination.open([CT], "DICOMWIRE"):
            pass
        (recording,) = flight
        assert (recording.state, recording.called_ae_title) == ("ended", "CT1")
        told = story_of(recording)
        assert told is not None
        assert told.outcome is Outcome.OK
        assert told.acceptor.port == acceptor.port
        assert facts(recording)["direction"] == "outgoing"
    finally:
        await acceptor.stop(0)
    with pytest.raises(ConnectionRefused):
        async with destination.open([CT], "DICOMWIRE"):
            pass
    refused = next(iter(flight))
    assert "nobody listens" in refused.reason
    assert story_of(refused) is None
