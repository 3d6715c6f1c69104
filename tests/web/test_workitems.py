"""UPS-RS: statuses and headers of every transaction, one row a rule (PS3.18 11)."""

from __future__ import annotations

import asyncio
import json
from time import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from dicomwire.dicom.data_set import DataSet, from_object, to_json
from dicomwire.dicom.identifier import parse
from dicomwire.web.client import WebClient
from dicomwire.web.options import WebOptions
from dicomwire.web.workitem_client import Workitems
from dicomwire.work import ups
from dicomwire.work.ups_rules import OnCancel, Policy
from tests.web.conftest import opened
from tests.work.steps import without
from tests.work.workitems import TRANSACTION, performed, state, workitem

UID = "1.2.3.4"
ITEM = f"/workitems/{UID}"
GLOBAL = "/workitems/1.2.840.10008.5.1.4.34.5"
FILTERED = GLOBAL + ".1"
OTHER = "1.2.3.98"
JSON = "application/dicom+json"


async def send(door, method: str, path: str, body: DataSet | None = None):
    content = to_json(body) if body is not None else b""
    headers = {"Content-Type": JSON} if body is not None else {}
    return await door.client.request(method, door.base + path, content=content, headers=headers)


async def reach(door, wanted: str) -> None:
    """Bring a workitem into a state."""
    if wanted == "null":
        return
    assert (await send(door, "POST", f"/workitems?{UID}", workitem())).status_code == 201
    if wanted == "SCHEDULED":
        return
    assert (await send(door, "PUT", f"{ITEM}/state", state("IN PROGRESS"))).status_code == 200
    if wanted == "IN PROGRESS":
        return
    assert (await send(door, "POST", f"{ITEM}?transaction-uid={TRANSACTION}", performed())).status_code == 200
    assert (await send(door, "PUT", f"{ITEM}/state", state(wanted))).status_code == 200


LABEL = DataSet().put("ProcedureStepLabel", "Other")
STATES = ("null", "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED")
REQUESTS: dict[str, tuple[str, str, DataSet | None, tuple[int, int, int, int, int]]] = {
    "create": ("POST", f"/workitems?{UID}", workitem(), (201, 409, 409, 409, 409)),
    "retrieve": ("GET", ITEM, None, (404, 200, 200, 200, 200)),
    "update": ("POST", ITEM, LABEL, (404, 200, 400, 400, 400)),
    "update by the performer": (
        "POST", f"{ITEM}?transaction-uid={TRANSACTION}", LABEL, (404, 409, 200, 400, 400),
    ),
    "take": ("PUT", f"{ITEM}/state", state("IN PROGRESS"), (404, 200, 409, 409, 409)),
    "take as another": ("PUT", f"{ITEM}/state", state("IN PROGRESS", OTHER), (404, 200, 400, 400, 400)),
    "take without": ("PUT", f"{ITEM}/state", state("IN PROGRESS", ""), (404, 400, 400, 400, 400)),
    "complete unmet": ("PUT", f"{ITEM}/state", state("COMPLETED"), (404, 409, 409, 200, 409)),
    "cancel by the performer": ("PUT", f"{ITEM}/state", state("CANCELED"), (404, 409, 200, 409, 200)),
    "to scheduled": ("PUT", f"{ITEM}/state", state("SCHEDULED"), (404, 409, 409, 409, 409)),
    "no state": ("PUT", f"{ITEM}/state", LABEL, (400, 400, 400, 400, 400)),
    "request cancellation": ("POST", f"{ITEM}/cancelrequest", None, (404, 202, 202, 409, 202)),
    "subscribe": ("POST", f"{ITEM}/subscribers/AE1?deletionlock=true", None, (404, 201, 201, 201, 201)),
    "unsubscribe": ("DELETE", f"{ITEM}/subscribers/AE1", None, (404, 404, 404, 404, 404)),
}  # fmt: skip
CASES = [
    (name, before, status)
    for name, (_, _, _, statuses) in REQUESTS.items()
    for before, status in zip(STATES, statuses, strict=True)
]


@pytest.mark.parametrize(("name", "before", "status"), CASES)
async def test_every_transaction_in_every_state(door, name: str, before: str, status: int) -> None:
    await reach(door, before)
    method, path, body, _ = REQUESTS[name]
    response = await send(door, method, path, body)
    assert response.status_code == status, response.text
    if status >= 400:
        assert response.headers["content-type"] == "application/problem+json"


async def test_a_workitem_is_created_and_retrieved_without_its_transaction_uid(door) -> None:
    created = await send(door, "POST", "/workitems", workitem())
    path = created.headers["location"].removeprefix(door.base)
    uid = path.rpartition("/")[2]
    assert uid.startswith("2.25.")
    await send(door, "PUT", f"{path}/state", state("IN PROGRESS"))
    (found,) = (await door.get(path, JSON)).json()
    attributes = from_object(found)
    assert attributes.text("SOPInstanceUID") == uid
    assert attributes.text("ProcedureStepState") == "IN PROGRESS"
    assert TRANSACTION not in (await door.get(path, JSON)).text
    assert (await door.get(f"/workitems?TransactionUID={TRANSACTION}", JSON)).status_code == 400


REMARKS: dict[str, tuple[str, str, DataSet, int, str]] = {
    "create": ("POST", "/workitems", workitem(ScheduledProcedureStepPriority="low"), 201, "created with"),
    "update": ("POST", ITEM, DataSet().put("InputReadinessState", "ready"), 200, "updated with"),
}


@pytest.mark.parametrize("case", REMARKS)
async def test_what_is_coerced_is_said(door, case: str) -> None:
    await reach(door, "SCHEDULED")
    method, path, body, status, words = REMARKS[case]
    response = await send(door, method, path, body)
    assert response.status_code == status
    assert words in response.headers["warning"]


GONE: dict[str, tuple[str, str, DataSet | None, int]] = {
    "retrieve": ("GET", ITEM, None, 410),
    "update": ("POST", ITEM, LABEL, 410),
    "take": ("PUT", f"{ITEM}/state", state("IN PROGRESS"), 410),
    "cancel": ("POST", f"{ITEM}/cancelrequest", None, 404),
    "subscribe": ("POST", f"{ITEM}/subscribers/AE1", None, 404),
    "unsubscribe": ("DELETE", f"{ITEM}/subscribers/AE1", None, 404),
}


@pytest.mark.parametrize("case", GONE)
async def test_what_has_been_deleted_is_gone(door, work, case: str) -> None:
    await reach(door, "CANCELED")
    await work.change(lambda change: ups.prune(change, time() + 1, time()))
    method, path, body, status = GONE[case]
    assert (await send(door, method, path, body)).status_code == status
    await work.change(lambda change: ups.forget(change, time() + 1))
    assert (await send(door, "GET", ITEM)).status_code == 404


ALLOWED: dict[str, tuple[Policy, str, str, int, str]] = {
    "no events": (Policy(events=False), "POST", f"{ITEM}/subscribers/AE1", 403, ""),
    "no locks": (
        Policy(deletion_locks=False), "POST", f"{ITEM}/subscribers/AE1?deletionlock=true", 201, "not granted",
    ),
    "nobody to contact": (
        Policy(on_cancel=OnCancel.CONTACT), "POST", f"{ITEM}/cancelrequest", 409, "cannot be contacted",
    ),
    "no cancelling": (
        Policy(on_cancel=OnCancel.REFUSE), "POST", f"{ITEM}/cancelrequest", 409, "not to cancel",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("policy", "method", "path", "status", "words"), ALLOWED.values(), ids=ALLOWED)
async def test_a_site_allows_less(
    archive, work, server_options, policy: Policy, method: str, path: str, status: int, words: str
) -> None:
    async with opened(archive, work, WebOptions(ups=policy), server_options) as door:
        await reach(door, "IN PROGRESS")
        response = await send(door, method, path)
    assert response.status_code == status
    assert words in response.headers.get("warning", "")


async def test_warnings_say_why(door) -> None:
    await reach(door, "CANCELED")
    again = await send(door, "PUT", f"{ITEM}/state", state("CANCELED"))
    assert "already in the requested state of CANCELED" in again.headers["warning"]
    wrong = await send(door, "PUT", f"{ITEM}/state", state("CANCELED", OTHER))
    assert "Transaction UID" in wrong.headers["warning"]


BAD: dict[str, tuple[str, str, DataSet | None, int]] = {
    "type 1 is missing": ("POST", "/workitems", without(workitem(), "ProcedureStepLabel"), 400),
    "a UID that is none": ("POST", "/workitems?1..2", workitem(), 400),
    "another state": ("POST", "/workitems", workitem(ProcedureStepState="COMPLETED"), 400),
    "a Transaction UID": ("POST", "/workitems", workitem(TransactionUID="1.2"), 400),
    "an AE title that is too long": ("POST", f"{GLOBAL}/subscribers/{'A' * 17}", None, 400),
    "a lock that is none": ("POST", f"{GLOBAL}/subscribers/AE1?deletionlock=maybe", None, 400),
    "a filter without keys": ("POST", f"{FILTERED}/subscribers/AE1", None, 400),
    "a filter that is no attribute": ("POST", f"{FILTERED}/subscribers/AE1?filter=Nonsense=1", None, 400),
    "to suspend a single one": ("POST", f"{ITEM}/subscribers/AE1/suspend", None, 400),
    "to suspend none": ("POST", f"{GLOBAL}/subscribers/AE1/suspend", None, 404),
    "to unsubscribe nobody": ("DELETE", f"{GLOBAL}/subscribers/AE1", None, 404),
    "a method that is none": ("PUT", "/workitems", workitem(), 405),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_requests_are_refused(door, case: str) -> None:
    method, path, body, status = BAD[case]
    assert (await send(door, method, path, body)).status_code == status
    assert (await door.get("/workitems", JSON)).status_code == 204


async def test_subscriptions_name_their_channel(door) -> None:
    made = await send(door, "POST", f"{GLOBAL}/subscribers/AE1")
    assert made.status_code == 201
    assert made.headers["content-location"].endswith("/subscribers/AE1")
    assert made.headers["content-location"].startswith("ws")
    assert (await send(door, "POST", f"{GLOBAL}/subscribers/AE1/suspend")).status_code == 200
    assert (await send(door, "POST", f"{FILTERED}/subscribers/AE1?filter=WorklistLabel=X")).status_code == 201
    assert (await send(door, "DELETE", f"{FILTERED}/subscribers/AE1")).status_code == 200


async def test_workitems_are_searched(door) -> None:
    await reach(door, "SCHEDULED")
    found = await door.get("/workitems?PatientName=doe*&ProcedureStepState=SCHEDULED", JSON)
    assert [from_object(each).text("SOPInstanceUID") for each in found.json()] == [UID]
    assert (await door.get("/workitems?PatientName=roe*", JSON)).status_code == 204
    assert (await door.get("/workitems?ScheduledProcedureStepStartDateTime=soon", JSON)).status_code == 400


async def test_a_search_that_cannot_be_answered_in_what_is_wanted_names_what_it_can(door) -> None:
    refused = await door.get("/workitems", "text/html")
    assert refused.status_code == 406
    assert 'multipart/related; type="application/dicom+xml"' in refused.json()["detail"]


async def test_a_search_that_finds_more_than_it_may_give_says_so(door) -> None:
    for _ in range(3):
        await send(door, "POST", "/workitems", workitem())
    some = await door.get("/workitems?limit=2", JSON)
    assert (some.status_code, len(some.json())) == (206, 2)
    assert "additional results" in some.headers["warning"]
    rest = await door.get("/workitems?limit=2&offset=2", JSON)
    assert (rest.status_code, len(rest.json())) == (200, 1)
    async with WebClient(door.base) as client:
        found = [each async for each in Workitems(client).search([parse("SOPInstanceUID")], limit=2)]
    assert len(found) == 2


async def test_an_event_channel_has_what_waited_and_what_comes(door) -> None:
    await send(door, "POST", f"{GLOBAL}/subscribers/AE1")
    await reach(door, "SCHEDULED")
    address = f"{door.base}/subscribers/AE1".replace("http", "ws", 1)
    async with asyncio.timeout(10), connect(address) as channel:
        first = json.loads(await channel.recv())
        assert (first["00001002"]["Value"], first["00000110"]["Value"]) == ([1], [1])
        assert first["00001000"]["Value"] == [UID]
        assert first["00741000"]["Value"] == ["SCHEDULED"]
        await send(door, "PUT", f"{ITEM}/state", state("IN PROGRESS"))
        second = json.loads(await channel.recv())
        assert second["00741000"]["Value"] == ["IN PROGRESS"]
    await send(door, "PUT", f"{ITEM}/state", state("CANCELED"))
    async with asyncio.timeout(10), connect(address) as channel:
        assert json.loads(await channel.recv())["00741000"]["Value"] == ["CANCELED"]


async def test_what_a_channel_is_told_is_not_listened_to(door) -> None:
    await send(door, "POST", f"{GLOBAL}/subscribers/AE1")
    address = f"{door.base}/subscribers/AE1".replace("http", "ws", 1)
    async with asyncio.timeout(10), connect(address) as channel:
        await channel.send(b"\x00\x01")
        await channel.send("[]")
        await (await channel.ping())
        await reach(door, "SCHEDULED")
        assert json.loads(await channel.recv())["00741000"]["Value"] == ["SCHEDULED"]


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ("filter=Rows=512", 201),
        ("filter=Rows=x", 400),
        ("Rows=1.5", 400),
        ("filter=ScheduledStationNameCodeSequence=x", 400),
        ("filter=PixelData=x", 400),
        ("filter=PatientName.CodeValue=x", 400),
        ("filter=", 400),
    ],
)
async def test_a_filter_is_made_of_what_can_be_matched(door, keys: str, status: int) -> None:
    assert (await send(door, "POST", f"{FILTERED}/subscribers/AE1?{keys}")).status_code == status


async def test_an_open_channel_does_not_hold_up_the_end(door, server_options) -> None:
    address = f"{door.base}/subscribers/AE1".replace("http", "ws", 1)
    async with connect(address) as channel:
        began = asyncio.get_running_loop().time()
        await door.server.stop()
        assert asyncio.get_running_loop().time() - began < server_options.grace / 2
        with pytest.raises(ConnectionClosed) as closed:
            await channel.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
