from __future__ import annotations

import httpx
from starlette.applications import Starlette

from dicomwire.association.flight import FlightRecorder
from dicomwire.diagnose.explain import explain
from dicomwire.dimse.codec import encode as encode_command
from dicomwire.dimse.command import CEchoRq, CEchoRsp, CFindRq, CFindRsp
from dicomwire.node import flight_api
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.items import ContextResult, ProposedContext
from dicomwire.upper_layer.pdu import AssociateAc, AssociateRj, AssociateRq, PData, PresentationDataValue

STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def client() -> httpx.AsyncClient:
    flight = FlightRecorder(10)
    recording = flight.begin("abc")
    recording.opened(("192.0.2.1", 40_000), ("192.0.2.2", 104))
    request = AssociateRq("NODE", "CT1", (ProposedContext(1, VERIFICATION, ("1.2.840.10008.1.2",)),), ())
    recording.received(memoryview(encode(request)))
    recording.named("CT1", "NODE", "rejected")
    recording.note("calling AE title 'CT1' is none of the configured peers")
    recording.sent([encode(AssociateRj(1, 1, 3))])
    recording.closed(by_peer=True, error=None)
    transport = httpx.ASGITransport(Starlette(routes=flight_api.routes(flight)))
    return httpx.AsyncClient(transport=transport, base_url="http://node")


async def test_associations_are_listed_with_the_true_reason() -> None:
    async with client() as web:
        (found,) = (await web.get("/api/associations")).json()["associations"]
    assert found["id"] == "abc"
    assert found["state"] == "rejected"
    assert found["peer"] == "192.0.2.1:40000"
    assert found["calling_ae_title"] == "CT1"
    assert "none of the configured peers" in found["reason"]


async def test_one_association_is_explained_by_the_rules() -> None:
    async with client() as web:
        story = (await web.get("/api/associations/abc")).json()["story"]
    assert story["verdict"]["code"] == "reject-calling-ae-title"


async def test_one_association_has_a_page_that_runs_nothing() -> None:
    async with client() as web:
        answer = await web.get("/associations/abc")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "reject-calling-ae-title" in answer.text
    assert "<script" not in answer.text


async def test_pcap_is_a_capture_that_explain_reads() -> None:
    async with client() as web:
        answer = await web.get("/api/associations/abc/pcap")
    assert answer.headers["content-type"] == "application/vnd.tcpdump.pcap"
    stories = explain("abc", [answer.content]).stories
    assert stories[0].requestor.ae_title == "CT1"


async def test_unknown_association_is_404() -> None:
    async with client() as web:
        for path in ("/api/associations/xyz", "/api/associations/xyz/pcap", "/associations/xyz"):
            assert (await web.get(path)).status_code == 404


def test_each_request_has_its_time() -> None:
    recording = FlightRecorder(1).begin("abc")
    recording.opened(("192.0.2.1", 40_000), ("192.0.2.2", 104))
    context = ProposedContext(1, VERIFICATION, ("1.2.840.10008.1.2",))
    answer = ContextResult(1, 0, "1.2.840.10008.1.2")
    recording.received(memoryview(encode(AssociateRq("NODE", "CT1", (context,), ()))))
    recording.sent([encode(AssociateAc("NODE", "CT1", (answer,), ()))])
    for command, send in (
        (CEchoRq(7, VERIFICATION), lambda data: recording.received(memoryview(data))),
        (CEchoRsp(7, 0, affected_sop_class_uid=VERIFICATION), lambda data: recording.sent([data])),
    ):
        send(encode(PData((PresentationDataValue(1, 3, encode_command(command)),))))
    (request,) = flight_api.requests(recording)
    assert (request["request"], request["message_id"], request["status"]) == ("C-ECHO", 7, "0000")
    assert isinstance(request["milliseconds"], float)


def test_what_was_cut_out_of_a_query_is_not_called_missing() -> None:
    """Of data sets the recorder keeps lengths: whether there was a level nobody knows any more."""
    recording = FlightRecorder(1).begin("abc")
    recording.opened(("192.0.2.1", 40_000), ("192.0.2.2", 104))
    context = ProposedContext(1, STUDY_FIND, ("1.2.840.10008.1.2",))
    answer = ContextResult(1, 0, "1.2.840.10008.1.2")
    recording.received(memoryview(encode(AssociateRq("NODE", "CT1", (context,), ()))))
    recording.sent([encode(AssociateAc("NODE", "CT1", (answer,), ()))])
    level = bytes.fromhex("0800 5200 06000000") + b"STUDY "
    for header, data in ((3, encode_command(CFindRq(7, STUDY_FIND))), (2, level)):
        recording.received(memoryview(encode(PData((PresentationDataValue(1, header, data),)))))
    refused = encode_command(CFindRsp(7, 0xA700, affected_sop_class_uid=STUDY_FIND))
    recording.sent([encode(PData((PresentationDataValue(1, 3, refused),)))])
    story = flight_api.story_of(recording)
    assert story is not None
    assert {finding.code for finding in story.findings} == {"status-out-of-resources"}
