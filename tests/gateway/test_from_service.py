"""DIMSE in front of a DICOMweb service: another node's, and services that fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

import dicomwire
from dicomwire.archive.query import Level, Match, Query
from dicomwire.dicom.data_set import DataSet, encode
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dimse.command import CFindRq, CGetRq, CMoveRq, CStoreRq
from dicomwire.errors import OperationFailed
from dicomwire.gateway.find import target
from dicomwire.gateway.storage import verdict
from dicomwire.services.client import Client
from dicomwire.services.models import Root
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.web.client import Answer
from tests.gateway.support import Running, gateway_from, make, running, stow
from tests.web.conftest import CT

pytestmark = pytest.mark.asyncio(loop_scope="module")

STUDY, SERIES = "1.2.3", "1.2.3.4"
INSTANCES = [make(number) for number in (1, 2, 3)]
OTHER = make(1, study="1.2.5", series="1.2.5.1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running(tmp_path_factory.mktemp("cloud")) as node:
        assert (await stow(node.http, OTHER.file, *(each.file for each in INSTANCES))).status_code == 200
        yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(cloud: Running, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with gateway_from(tmp_path_factory.mktemp("gateway"), cloud.url) as node:
        yield node


def calling(node: Running):
    return dicomwire.connect(f"CLOUD@127.0.0.1:{node.dimse_port}", calling_ae_title="CT1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(gateway: Running) -> AsyncIterator[Client]:
    async with calling(gateway) as association:
        yield association


async def test_echo(client: Client) -> None:
    await client.echo()


async def test_studies_are_found_at_the_service(client: Client) -> None:
    found = [each async for each in client.find(PatientName="DOE*", StudyInstanceUID="", PatientComments="")]
    assert sorted(each.StudyInstanceUID for each in found) == [STUDY, "1.2.5"]
    assert all(each.QueryRetrieveLevel == "STUDY" and each.RetrieveAETitle == "CLOUD" for each in found)
    assert all(str(each.PatientName) == "Doe^Jane" for each in found)
    assert [each async for each in client.find(PatientID="nobody")] == []


@pytest.mark.parametrize(
    ("keys", "level", "count"),
    [
        ({"PatientID": "P1"}, "PATIENT", 1),
        ({"StudyInstanceUID": STUDY}, "SERIES", 1),
        ({"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}, "IMAGE", 3),
        ({"StudyInstanceUID": [STUDY, "1.2.5"]}, "STUDY", 2),
    ],
)
async def test_every_level_is_found(client: Client, keys: dict[str, str], level: str, count: int) -> None:
    found = [each async for each in client.find(level=level, **keys)]
    assert len(found) == count
    assert {each.QueryRetrieveLevel for each in found} == {level}


async def test_a_query_is_cancelled(client: Client) -> None:
    found = [each async for each in client.find(StudyInstanceUID="", limit=1)]
    assert len(found) == 1
    await client.echo()


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Event]]:
    """A service that takes requests and answers none; its URL, and what tells of the first and its end."""
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        given_up.set()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked, given_up


@pytest.mark.parametrize("command", ["C-FIND", "C-GET", "C-MOVE"])
async def test_a_cancel_does_not_wait_for_the_service(tmp_path: Path, command: str) -> None:
    peer = {"ae_title": "WS", "host": "127.0.0.1", "port": 11112}
    async with (
        silent() as (url, asked, given_up),
        gateway_from(tmp_path, url, peer) as node,
        calling(node) as client,
    ):
        association = client.association
        model = Root.STUDY.value
        number = association.next_message_id()
        request = {
            "C-FIND": CFindRq(number, model.find),
            "C-GET": CGetRq(number, model.get),
            "C-MOVE": CMoveRq(number, model.move, "WS"),
        }[command]
        context = association.contexts_for(request.affected_sop_class_uid)[0]
        asks = DataSet().put(TAGS["QueryRetrieveLevel"], "STUDY").put(TAGS["StudyInstanceUID"], "1.2.3")
        answer = asyncio.create_task(
            association.request(
                context.presentation_context_id, request, [encode(asks, context.transfer_syntax)]
            )
        )
        await asyncio.wait_for(asked.wait(), 20)
        association.cancel(number)
        assert (await asyncio.wait_for(answer, 5)).status == 0xFE00
        if command == "C-FIND":  # what a retrieval brings may be asked for again, and goes on
            await asyncio.wait_for(given_up.wait(), 5)


async def test_a_study_is_got_as_it_is_stored_there(client: Client) -> None:
    async with aclosing(client.get(StudyInstanceUID=STUDY)) as instances:
        got = {each.sop_instance_uid: each.data_set() async for each in instances}
    assert got == {each.sop_instance_uid: each.data_set for each in INSTANCES}


async def test_a_patient_and_a_single_instance_are_got(client: Client) -> None:
    async with aclosing(client.get(PatientID="P1", level="PATIENT")) as instances:
        assert len([each async for each in instances]) == 4
    one = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": f"{SERIES}.2"}
    async with aclosing(client.get(level="IMAGE", **one)) as instances:
        assert [each.sop_instance_uid async for each in instances] == [f"{SERIES}.2"]


async def test_what_the_service_does_not_have_is_an_empty_retrieval(client: Client) -> None:
    async with aclosing(client.get(StudyInstanceUID="1.2.999")) as instances:
        assert [each async for each in instances] == []


async def test_a_study_is_moved_to_a_peer(cloud: Running, tmp_path: Path) -> None:
    dimse = {"port": 0, "calling_ae_title": "off"}
    async with running(tmp_path / "ws", node={"ae_title": "WS"}, dimse=dimse) as workstation:
        peer = {"ae_title": "WS", "host": "127.0.0.1", "port": workstation.dimse_port}
        async with gateway_from(tmp_path / "g", cloud.url, peer) as node, calling(node) as association:
            end = await association.move("WS", StudyInstanceUID=STUDY)
            assert (end.completed, end.failed) == (3, 0)
        assert len((await workstation.http.get(f"studies/{STUDY}/metadata")).json()) == 3


async def test_what_is_stored_is_at_the_service_when_it_is_answered(client: Client, cloud: Running) -> None:
    await client.store(make(1, study="1.2.7", series="1.2.7.1").file)
    assert len((await cloud.http.get("studies/1.2.7/metadata")).json()) == 1
    changed = make(1, study="1.2.7", series="1.2.7.1", frames=(b"\0" * 8,))
    delivery = await client.store(changed.file)
    assert delivery.status == 0xB000, "the service keeps both and warns"


async def test_an_instance_of_many_megabytes_is_spooled(
    client: Client, cloud: Running, gateway: Running
) -> None:
    large = make(1, study="1.2.9", series="1.2.9.1", frames=(bytes(8 << 20),))
    await client.store(large.file)
    assert len((await cloud.http.get("studies/1.2.9/metadata")).json()) == 1
    spool = gateway.node._settings.node.data / "gateways" / "cloud" / "spool"
    assert list(spool.iterdir()) == []


async def test_the_nodes_own_title_is_its_own_archive(gateway: Running, cloud: Running) -> None:
    own = f"DICOMWIRE@127.0.0.1:{gateway.dimse_port}"
    async with dicomwire.connect(own, calling_ae_title="CT1") as association:
        await association.store(make(1, study="1.2.11", series="1.2.11.1").file)
        assert [each.StudyInstanceUID async for each in association.find(StudyInstanceUID="")] == ["1.2.11"]
    assert (await cloud.http.get("studies?StudyInstanceUID=1.2.11")).status_code == 204


# Services that fail


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A port where every request gets one answer; with the heads of the requests."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        if length:
            await reader.readexactly(int(length[0].split(b":")[1]))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


def http(status: int, body: bytes = b"", content_type: str = "text/html") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


FAILURES = [
    (http(401), 0xC000, 0x0110, "401"),
    (http(500, b"<html>"), 0xC000, 0x0110, "500"),
    (http(503), 0xA700, 0xA700, "503"),
    (http(200, b"<html>login"), 0xC000, 0x0110, ""),
    (b"SSH-2.0-x\r\n", 0xA700, 0xA700, ""),
    (b"", 0xA700, 0xA700, ""),
]


@pytest.mark.parametrize(("answer", "found", "stored", "words"), FAILURES)
async def test_a_service_that_fails_is_a_status_with_its_words(
    answer: bytes, found: int, stored: int, words: str, tmp_path: Path
) -> None:
    async with (
        answering(answer) as (url, _),
        gateway_from(tmp_path, url) as node,
        calling(node) as association,
    ):
        with pytest.raises(OperationFailed) as failed:
            _ = [each async for each in association.find(StudyInstanceUID="1.2")]
        assert failed.value.status == found
        assert words in failed.value.comment
        assert failed.value.comment.startswith("cloud")
        with pytest.raises(OperationFailed) as failed:
            await association.store(INSTANCES[0].file)
        assert failed.value.status == stored
        with pytest.raises(OperationFailed) as failed:
            _ = [each async for each in association.get(StudyInstanceUID="1.2")]
        assert failed.value.status == 0xA701
        await association.echo()


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_a_success_that_names_no_instance_is_one_with_a_remark(body: bytes, tmp_path: Path) -> None:
    uid = INSTANCES[0].sop_instance_uid
    async with (
        answering(http(200, body, "application/dicom+json")) as (url, _),
        gateway_from(tmp_path, url) as node,
        calling(node) as client,
    ):
        contexts = client.association.contexts_for(CT)
        context = next(each for each in contexts if each.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN)
        with capture_logs() as logs:
            answer = await client.association.request(
                context.presentation_context_id, CStoreRq(0, CT, uid, 0), [INSTANCES[0].data_set]
            )
    assert answer.status == 0
    assert answer.command.error_comment == "cloud: HTTP 200 says stored, and names no instance"
    (warned,) = (each for each in logs if each["log_level"] == "warning")
    assert warned["sop_instance_uid"] == uid


async def test_a_service_that_is_gone_is_out_of_resources(tmp_path: Path) -> None:
    async with gateway_from(tmp_path, "http://127.0.0.1:1") as node, calling(node) as association:
        with pytest.raises(OperationFailed) as failed:
            await association.store(INSTANCES[0].file)
        assert failed.value.status == 0xA700


async def test_the_token_is_read_for_each_request(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with (
        answering(http(204)) as (url, heads),
        gateway_from(tmp_path / "data", url, token_file=str(token)) as node,
        calling(node) as association,
    ):
        assert [each async for each in association.find(StudyInstanceUID="1.2")] == []
        token.write_text("second\n")
        assert [each async for each in association.find(StudyInstanceUID="1.2")] == []
        assert b"Bearer first\r\n" in heads[0]
        assert b"Bearer second\r\n" in heads[1]
        token.unlink()
        with pytest.raises(OperationFailed, match="token_file"):
            _ = [each async for each in association.find(StudyInstanceUID="1.2")]


@asynccontextmanager
async def giving_one_of(count: int) -> AsyncIterator[str]:
    """A service that says how many instances it has, gives one, and no choice of transfer syntaxes."""
    part = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + INSTANCES[0].file + b"\r\n--B--\r\n"
    row = {"0020000D": {"vr": "UI", "Value": [STUDY]}, "00201208": {"vr": "IS", "Value": [count]}}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"GET /studies?" in head:
            writer.write(http(200, json.dumps([row]).encode(), "application/dicom+json"))
        elif b"transfer-syntax" in head:
            writer.write(http(406))
        else:
            content_type = 'multipart/related; type="application/dicom"; boundary=B'
            writer.write(http(200, part, content_type))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_service_gives_instances_as_it_can(tmp_path: Path) -> None:
    async with (
        giving_one_of(1) as url,
        gateway_from(tmp_path, url) as node,
        calling(node) as association,
    ):
        got = [each.data_set() async for each in association.get(StudyInstanceUID=STUDY)]
        assert got == [INSTANCES[0].data_set]


async def test_a_study_that_comes_in_part_is_a_failure(tmp_path: Path) -> None:
    async with (
        giving_one_of(2) as url,
        gateway_from(tmp_path, url) as node,
        calling(node) as association,
    ):
        with pytest.raises(OperationFailed, match="only 1 of 2 instances") as failed:
            _ = [each async for each in association.get(StudyInstanceUID=STUDY)]
        assert failed.value.status == 0xA701


def item(uid: str, tag: str, code: int) -> dict[str, object]:
    return {"00081155": {"vr": "UI", "Value": [uid]}, tag: {"vr": "US", "Value": [code]}}


def body(**sequences: object) -> bytes:
    return json.dumps({name[1:]: {"vr": "SQ", "Value": [each]} for name, each in sequences.items()}).encode()


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (200, b"", 0x0000),
        (200, b"{}", 0x0000),
        (200, b"<html>", 0x0110),
        (200, b'{"message": "log in"}', 0x0110),
        (202, b"", 0x0110),
        (200, body(t00081199=item("1.1", "00081190", 0)), 0x0000),
        (200, body(t00081199=item("1.2", "00081190", 0)), 0xA900),
        (202, body(t00081199=item("1.1", "00081196", 0xB007)), 0xB007),
        (409, body(t00081198=item("1.1", "00081197", 0xA901)), 0xA901),
        (409, body(t00081198=item("1.1", "00081197", 0xC122)), 0xC122),
        (409, body(t00081198=item("1.1", "00081197", 0)), 0x0110),
        (409, body(t0008119A=item("", "00081197", 0xC000)), 0xC000),
        (400, b"", 0xC000),
        (401, b"", 0x0110),
        (413, b"", 0xA700),
        (507, b"", 0xA700),
    ],
)
async def test_a_store_response_is_a_status(status: int, answer: bytes, code: int) -> None:
    assert verdict(Answer(status, answer), "1.1")[0] == code


@pytest.mark.parametrize(
    ("level", "keys", "path", "parameters"),
    [
        (Level.PATIENT, {"PatientID": "P"}, "studies", {"PatientID": "P"}),
        (Level.STUDY, {"StudyInstanceUID": "1.2\\1.3"}, "studies", {"StudyInstanceUID": "1.2,1.3"}),
        (
            Level.SERIES,
            {"StudyInstanceUID": "1.2", "Modality": "CT"},
            "studies/1.2/series",
            {"Modality": "CT"},
        ),
        (Level.SERIES, {"SeriesInstanceUID": "1.2"}, "series", {"SeriesInstanceUID": "1.2"}),
        (
            Level.INSTANCE,
            {"StudyInstanceUID": "1", "SeriesInstanceUID": "2"},
            "studies/1/series/2/instances",
            {},
        ),
        (Level.INSTANCE, {"StudyInstanceUID": "1"}, "studies/1/instances", {}),
        (Level.INSTANCE, {"SOPInstanceUID": "1.*"}, "instances", {"SOPInstanceUID": "1.*"}),
    ],
)
async def test_a_query_is_a_search(
    level: Level, keys: dict[str, str], path: str, parameters: dict[str, str]
) -> None:
    matches = tuple(Match((TAGS[keyword],), value) for keyword, value in keys.items())
    assert target(Query(level, matches)) == (path, parameters)
