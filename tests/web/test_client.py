"""The DICOMweb client, against this node and against services that are none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from dicomwire.errors import Part10Error, WebServiceError
from dicomwire.web.client import Upload, WebClient
from dicomwire.web.options import WebOptions
from tests.web.conftest import Door

INSTANCE = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.1"


@pytest.fixture
def web_options() -> WebOptions:
    return WebOptions(delete=True, maximum_results=2)


@pytest.fixture
async def client(door: Door):
    async with WebClient(door.base) as client:
        yield client


@asynccontextmanager
async def answering(answer: bytes, asked: list[bytes] | None = None) -> AsyncIterator[WebClient]:
    """The client of a service that gives one answer to whatever is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if asked is not None:
            asked.append(head)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with WebClient(f"http://127.0.0.1:{port}") as client:
            yield client


async def test_a_search_goes_on_over_all_pages(door, client, make_instance) -> None:
    await door.store(*(make_instance(number) for number in range(1, 6)))
    found = [each async for each in client.search("instances", {"PatientName": "doe*"}, fields=["Rows"])]
    assert len({each["00080018"]["Value"][0] for each in found}) == 5
    assert all(each["00280010"]["Value"] == [2] for each in found)
    some = [each async for each in client.search("instances", limit=3, offset=1)]
    assert some == found[1:4]
    assert [each async for each in client.search("studies", {"PatientID": "nobody"})] == []


async def test_files_are_stored_and_retrieved(door, client, make_instance, tmp_path: Path) -> None:
    instances = [make_instance(number) for number in (1, 2)]
    for number, each in enumerate(instances):
        (tmp_path / f"{number}.dcm").write_bytes(each.file)
    uploads = [Upload(tmp_path / f"{number}.dcm", len(each.file)) for number, each in enumerate(instances)]
    answer = await client.store(uploads)
    assert answer.status == 200
    folder = tmp_path / "got"
    async with aclosing(client.retrieve("studies/1.2.3", folder)) as files:
        got = [file async for file in files]
    assert [file.read_bytes() for file in got] == [each.file for each in instances]
    assert got[0] == folder / "1.2.3" / "1.2.3.4" / "1.2.3.4.1.dcm"
    assert [each async for each in client.retrieve(INSTANCE, folder)] == [got[0]]
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [file.name for file in got]


async def test_metadata_pictures_and_removal(door, client, make_instance) -> None:
    await door.store(make_instance())
    (metadata,) = await client.metadata("studies/1.2.3")
    assert metadata["00100020"]["Value"] == ["P1"]
    assert (await client.rendered(INSTANCE, "image/png", {"viewport": "4,4"}))[:4] == b"\x89PNG"
    await client.delete("studies/1.2.3")
    with pytest.raises(WebServiceError, match=r"410 Gone: study 1\.2\.3 was removed") as refused:
        await client.metadata("studies/1.2.3")
    assert refused.value.status == 410


async def test_a_file_that_became_shorter_is_an_error(client, tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(bytes(100))
    with pytest.raises(OSError, match="has changed"):
        await client.store([Upload(path, 200)])


ANSWERS = [
    (b"", WebServiceError, "Server disconnected"),
    (b"SSH-2.0-x\r\n", WebServiceError, "127"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nxxxx", Part10Error, "DICM"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None, ""),
    (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", WebServiceError, "500 Internal Server Error"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nxxxx", WebServiceError, "127"),
    (b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related\r\nContent-Length: 4\r\n\r\nxxxx",
     WebServiceError, "boundary"),
    (b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=B\r\nContent-Length: 4\r\n\r\nxxxx",
     WebServiceError, "boundary"),
    (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nxxxx",
     WebServiceError, "text/html came; multipart/related; .* wanted"),
    (b"HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/related; boundary=B\r\n\r\n--B--\r\n",
     WebServiceError, "206 Partial Content: the service says that this is not all"),
    (b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n",
     WebServiceError, r"503 Service Unavailable \(Retry-After: 120\)"),
    (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
     WebServiceError, "unsupported protocol"),
    (b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n",
     WebServiceError, "maximum allowed redirects"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "error", "words"), ANSWERS)
async def test_a_service_that_is_none_is_named(
    tmp_path: Path, answer: bytes, error: type[Exception] | None, words: str
) -> None:
    async with answering(answer) as client:
        if error is None:
            assert [each async for each in client.retrieve("studies/1", tmp_path)] == []
            return
        with pytest.raises(error, match=words):
            _ = [each async for each in client.retrieve("studies/1", tmp_path)]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("same_host", [True, False])
async def test_what_has_moved_is_asked_for_there_and_the_token_stays_with_the_host(same_host: bool) -> None:
    asked: list[bytes] = []
    ports: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        if head.startswith(b"GET /old/"):
            where = f"http://127.0.0.1:{ports[0 if same_host else 1]}/new/studies"
            writer.write(b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % where.encode())
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        writer.close()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as one,
        await asyncio.start_server(serve, "127.0.0.1", 0) as other,
    ):
        ports += [each.sockets[0].getsockname()[1] for each in (one, other)]
        async with WebClient(f"http://127.0.0.1:{ports[0]}/old", token="secret") as client:
            assert [each async for each in client.search()] == []
    assert b"Authorization: Bearer secret" in asked[0]
    assert (b"Authorization" in asked[1]) is same_host


async def test_a_store_request_is_told_where_to_go(tmp_path: Path) -> None:
    """Its body was streamed and is not there to be sent again."""
    file = tmp_path / "1.dcm"
    file.write_bytes(b"x")
    moved = b"HTTP/1.1 307 Moved\r\nLocation: /moved\r\nContent-Length: 0\r\n\r\n"
    async with answering(moved) as client:
        with pytest.raises(WebServiceError, match=r"307 Temporary Redirect: it is at http://127.*/moved;"):
            await client.store([Upload(file, 1)])


async def test_nobody_there_is_an_error_in_words(tmp_path: Path) -> None:
    async with WebClient("http://127.0.0.1:1") as client:
        with pytest.raises(WebServiceError, match=r"http://127.*: Connection refused"):
            await client.metadata("studies/1")


@pytest.mark.parametrize(
    ("content_type", "body"), [("text/html", b"<html>log in</html>"), ("image/jpeg", b""), ("", b"x")]
)
async def test_what_is_no_picture_is_an_error(content_type: str, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: {content_type}\r\n\r\n"
    async with answering(head.encode() + body) as client:
        with pytest.raises(WebServiceError, match=r"image/jpeg, image/png wanted"):
            await client.rendered("studies/1", "image/jpeg, image/png")
        with pytest.raises(WebServiceError):
            _ = [each async for each in client.pictures("studies/1")]


async def test_the_pictures_of_a_study_come_one_by_one(door, client, make_instance) -> None:
    await door.store(*(make_instance(number) for number in (1, 2)))
    found = [each async for each in client.pictures("studies/1.2.3", "image/png", {"viewport": "4,4"})]
    assert [each[:4] for each in found] == [b"\x89PNG"] * 2
    (only,) = [each async for each in client.pictures(INSTANCE)]
    assert only == await client.rendered(INSTANCE)


async def test_keys_go_out_as_browsers_send_them() -> None:
    """Orthanc 1.10 with its DICOMweb plug-in 1.7 compares `%2A` and `%5E` as they are."""
    asked: list[bytes] = []
    keys = {"PatientName": "M\u00fcller^J*", "x": "a&=+ b"}
    async with answering(b"HTTP/1.1 204 No Content\r\n\r\n", asked) as client:
        assert [each async for each in client.search(matches=keys)] == []
    assert asked[0].startswith(b"GET /studies?PatientName=M%C3%BCller^J*&x=a%26%3D%2B%20b HTTP/1.1\r\n")


async def test_an_answer_without_an_end_is_an_error(
    door: Door, client: WebClient, make_instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await door.store(make_instance())
    monkeypatch.setattr("dicomwire.web.client.LONGEST", 100)
    with pytest.raises(WebServiceError, match="an answer of more than"):
        await client.metadata("studies/1.2.3")


async def test_a_url_that_is_none_is_named() -> None:
    async with WebClient("http://[") as client:
        with pytest.raises(WebServiceError, match="http://\\["):
            await client.metadata("studies/1.2")
