"""What a service sends on an event channel, and what is none of it (PS3.18 11.13)."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from dicomwire.errors import WebServiceError
from dicomwire.web.client import WebClient
from dicomwire.web.workitem_client import Workitems, event_of
from dicomwire.work.ups_events import Event
from tests.work.workitems import workitem

EVENT = (
    '{"00000002":{"vr":"UI","Value":["1.2.840.10008.5.1.4.34.6.4"]},"00000110":{"vr":"US","Value":[23]},'
    '"00001000":{"vr":"UI","Value":["1.2.3"]},"00001002":{"vr":"US","Value":[%s]},'
    '"00741000":{"vr":"CS","Value":["SCHEDULED"]}}'
)
NO_EVENTS = {
    "no JSON": "{",
    "no object": "[]",
    "no UID": '{"00001002":{"vr":"US","Value":[1]}}',
    "no event type": EVENT % "9",
    "no values": '{"00001000":{"vr":"UI","Value":[]},"00001002":{"vr":"US","Value":[1]}}',
    "nested too deep": "[" * 20_000,
    "a tag that is none": EVENT.replace("00741000", "nonsense") % "1",
}


def test_an_event_is_what_its_message_says() -> None:
    found = event_of(EVENT % "1")
    assert (found.sop_instance_uid, found.event) == ("1.2.3", Event.STATE)
    assert found.attributes.text("ProcedureStepState") == "SCHEDULED"
    assert len(found.attributes) == 1


@pytest.mark.parametrize("case", NO_EVENTS)
def test_what_is_no_event_is_refused(case: str) -> None:
    with pytest.raises(WebServiceError, match="no event"):
        event_of(NO_EVENTS[case])


async def test_a_service_without_a_channel_says_so(door) -> None:
    async with WebClient(f"{door.base}/nothing") as client:
        with pytest.raises(WebServiceError, match="HTTP 403"):
            await anext(Workitems(client).events("AE1"))
        with pytest.raises(WebServiceError) as refused:
            await Workitems(client).create(workitem())
    assert refused.value.status == 404


async def test_an_open_channel_ends_when_nobody_listens_any_more(door) -> None:
    async with WebClient(door.base) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(Workitems(client).events("AE1"))


@pytest.mark.parametrize("verified", [True, False])
async def test_a_channel_logs_in_over_tls(verified: bool) -> None:
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(theirs)
    authority.configure_trust(ours)
    logins: list[str | None] = []

    async def tell(channel: ServerConnection) -> None:
        assert channel.request is not None
        logins.append(channel.request.headers.get("Authorization"))
        await channel.send(EVENT % "1")

    async with serve(tell, "localhost", 0, ssl=theirs) as server:
        (*_, port) = next(iter(server.sockets)).getsockname()[:2]
        url = f"https://localhost:{port}"
        async with WebClient(url, user=("anna", "secret"), verify=ours if verified else False) as client:
            (report,) = [each async for each in Workitems(client).events("AE1")]
        async with WebClient(url, token="T") as client:
            with pytest.raises(WebServiceError, match="certificate"):
                await anext(Workitems(client).events("AE1"))
    assert report.event is Event.STATE
    assert logins == ["Basic YW5uYTpzZWNyZXQ="]
