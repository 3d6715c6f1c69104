"""Files that the kernel sends: whole and in order, whatever room there is, beside what comes from memory."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from dicomwire.archive.file_range import FileRange
from dicomwire.web.options import ServerOptions
from dicomwire.web.ranges import ranged
from dicomwire.web.responses import Chunks, StreamedResponse, gathered
from dicomwire.web.server import Server, bind
from dicomwire.web.zero_copy import ZeroCopy

LENGTH = 5_000_003
PIECE = 700_001
STEP = 1 << 16


class Application:
    """Answers with a file, in ranges between heads and tails, as asked."""

    def __init__(self, path: Path) -> None:
        self.content = random.Random(7).randbytes(LENGTH)
        path.write_bytes(self.content)
        self.file = path.open("rb")
        self.ended = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/whole", self.whole),
                Route("/endless", self.endless),
                Route("/beyond", self.beyond),
                Route("/small", self.small),
                WebSocketRoute("/socket", self.socket),
            ]
        )

    def pieces(self) -> Chunks:
        for at in range(0, LENGTH, PIECE):
            yield b"head %d\n" % at
            yield FileRange(self.file, at, min(PIECE, LENGTH - at))
            yield memoryview(b"tail\n")

    def expected(self) -> bytes:
        heads = [(b"head %d\n" % at, self.content[at : at + PIECE]) for at in range(0, LENGTH, PIECE)]
        return b"".join(head + data + b"tail\n" for head, data in heads)

    async def whole(self, request: Request) -> Response:
        length = len(self.expected())
        if "range" in request.headers:
            return ranged(
                request,
                lambda span: self.file_only() if span is None else self.cut(span.start, span.end),
                length=LENGTH,
                content_type="application/octet-stream",
                headers={"ETag": '"1"'},
            )
        measured = request.query_params.get("measured") == "yes"
        return StreamedResponse(
            self.pieces(), content_type="application/octet-stream", length=length if measured else None
        )

    def file_only(self) -> Chunks:
        yield FileRange(self.file, 0, LENGTH)

    def cut(self, start: int, end: int) -> Chunks:
        yield FileRange(self.file, 0, LENGTH).cut(start, end)

    async def endless(self, request: Request) -> Response:
        def chunks() -> Chunks:
            try:
                while True:
                    yield FileRange(self.file, 0, LENGTH)
            finally:
                self.ended.set()

        return StreamedResponse(chunks(), content_type="application/octet-stream")

    async def beyond(self, request: Request) -> Response:
        def chunks() -> Chunks:
            yield FileRange(self.file, LENGTH - 10, 20)

        return StreamedResponse(chunks(), content_type="application/octet-stream", length=20)

    async def small(self, request: Request) -> Response:
        return PlainTextResponse("small")

    async def socket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    made = Application(tmp_path / "file")
    yield made
    made.file.close()


@pytest.fixture
def options() -> ServerOptions:
    return ServerOptions(write_timeout=0.3, head_timeout=5, linger=1, grace=0.3)


def request(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *lines, "", "")).encode()


async def taken(
    server: Server, sent: bytes, *, tls: ssl.SSLContext | None = None, slowly: bool = False
) -> bytes:
    """What comes behind these bytes until the server closes; a slow client has hardly any room for it."""
    connected = socket.socket()
    if slowly:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connected.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connected, server.addresses[0])
    reader, writer = await asyncio.open_connection(
        sock=connected,
        ssl=tls,
        limit=STEP if slowly else 1 << 20,
        server_hostname="127.0.0.1" if tls else None,
    )
    writer.write(sent)
    answer = bytearray()
    async with asyncio.timeout(20):
        while data := await reader.read(STEP):
            answer += data
            if slowly:
                await asyncio.sleep(0.001)
    writer.close()
    return bytes(answer)


def body_of(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    return dechunked(body) if b"transfer-encoding: chunked" in head else body


def dechunked(body: bytes) -> bytes:
    whole, at = bytearray(), 0
    while size := int(body[at : (end := body.index(b"\r\n", at))], 16):
        whole += body[end + 2 : end + 2 + size]
        assert body[end + 2 + size : end + 4 + size] == b"\r\n"
        at = end + 4 + size
    assert body[at:] == b"0\r\n\r\n"
    return bytes(whole)


@pytest.mark.parametrize("slowly", [False, True])
@pytest.mark.parametrize("measured", ["yes", "no"])
async def test_a_file_arrives_whole_between_heads_and_tails(
    server: Server, application: Application, measured: str, slowly: bool
) -> None:
    answer = await taken(server, request(f"/whole?measured={measured}", "Connection: close"), slowly=slowly)
    assert (b"chunked" in answer[:500]) == (measured == "no")
    assert body_of(answer) == application.expected()


async def test_the_kernel_sends_it(
    server: Server, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_by_kernel: list[int] = []
    send = ZeroCopy.send

    def watched(self: ZeroCopy, *arguments: object) -> int:
        before = self.taken
        sent = send(self, *arguments)  # type: ignore[arg-type]
        taken_by_kernel.append(self.taken - before)
        return sent

    monkeypatch.setattr(ZeroCopy, "send", watched)
    answer = await taken(server, request("/whole?measured=yes", "Connection: close"))
    assert body_of(answer) == application.expected()
    assert sum(taken_by_kernel) > LENGTH / 4


@pytest.mark.parametrize("first", ["/whole?measured=yes", "/whole?measured=no"])
async def test_answers_behind_a_file_keep_their_order(
    server: Server, application: Application, first: str
) -> None:
    sent = request(first) + request("/small") + request("/whole?measured=yes", "Connection: close")
    answer = await taken(server, sent, slowly=True)
    small = answer.index(b"small")
    before, after = answer[:small].rpartition(b"HTTP/1.1 200 OK")[0], answer[small + len(b"small") :]
    assert body_of(before) == application.expected()
    assert body_of(after) == application.expected()


@pytest.mark.parametrize(("start", "end"), [(0, 0), (1, STEP), (LENGTH - 7, LENGTH - 1)])
async def test_a_range_of_a_file(server: Server, application: Application, start: int, end: int) -> None:
    answer = await taken(server, request("/whole", f"Range: bytes={start}-{end}", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 206")
    assert body_of(answer) == application.content[start : end + 1]


async def test_head_sends_no_byte_of_it(server: Server) -> None:
    answer = await taken(server, request("/whole?measured=yes", "Connection: close", method="HEAD"))
    assert body_of(answer) == b""


async def test_who_takes_nothing_is_dropped(server: Server, application: Application) -> None:
    _, writer = await asyncio.open_connection(*server.addresses[0], limit=1024)
    writer.write(request("/endless"))
    async with asyncio.timeout(5):
        await application.ended.wait()
    writer.close()


async def test_who_takes_it_slowly_is_not(server: Server, application: Application) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses[0], limit=STEP)
    writer.write(request("/endless"))
    async with asyncio.timeout(20):
        for _ in range(30):  # 1.5 s, five times what a client may take nothing
            await reader.readexactly(STEP)
            await asyncio.sleep(0.05)
    assert not application.ended.is_set()
    writer.transport.abort()
    async with asyncio.timeout(5):
        await application.ended.wait()


async def test_a_file_that_ends_before_breaks_the_answer_off(server: Server) -> None:
    answer = await taken(server, request("/beyond"))
    assert b"content-length: 20" in answer
    assert len(body_of(answer)) < 20


async def test_a_websocket_behind_a_file_has_the_connection_to_itself(
    server: Server, application: Application
) -> None:
    host, port = server.addresses[0]
    connected = socket.create_connection((host, port))
    connected.sendall(request("/whole?measured=yes"))
    received = bytearray()
    while not received.endswith(application.expected()[-100:]):
        received += await asyncio.to_thread(connected.recv, STEP)
    async with connect(f"ws://{host}:{port}/socket", sock=connected) as websocket:
        await websocket.send("hello")
        assert await websocket.recv() == "hello"
    assert body_of(bytes(received)) == application.expected()
    assert body_of(await taken(server, request("/small", "Connection: close"))) == b"small"


async def test_over_tls_it_is_read(application: Application) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = Server(application.app, ServerOptions(tls=context, grace=0.3))
    await server.start(bind("127.0.0.1", 0))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    answer = await taken(server, request("/whole?measured=yes", "Connection: close"), tls=trusting)
    await server.stop()
    assert body_of(answer) == application.expected()


@pytest.mark.parametrize("missing", ["dicomwire.web.server.HTTPTOOLS", "dicomwire.web.zero_copy._POSSIBLE"])
async def test_where_the_server_or_the_system_cannot_it_is_read(
    application: Application, options: ServerOptions, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(missing, False)
    server = Server(application.app, options)
    await server.start(bind("127.0.0.1", 0))
    answer = await taken(server, request("/whole?measured=yes", "Connection: close"))
    await server.stop()
    assert body_of(answer) == application.expected()


def test_small_chunks_are_joined_with_what_is_in_files(application: Application) -> None:

    assert b"".join(map(bytes, gathered(application.pieces()))) == application.expected()
