"""The HTTP door itself: limits of size and time, other protocols, start and stop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio.trsock import TransportSocket
from collections.abc import Awaitable, Callable

import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dicomwire.web.options import ServerOptions
from dicomwire.web.responses import Chunks, StreamedResponse
from dicomwire.web.server import Server, bind

Exchange = Callable[[bytes], Awaitable[bytes]]


class Application:
    """Answers, streams without end, and waits, as asked."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.closed = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/hello", self.hello),
                Route("/endless", self.endless),
                Route("/unmeasured", self.unmeasured),
                Route("/wait", self.wait),
                Route("/refuse", self.hello, methods=["POST"]),
                Route("/read", self.read, methods=["POST"]),
            ]
        )

    async def hello(self, request: Request) -> Response:
        return PlainTextResponse(f"hello {request.url.scheme}")

    async def endless(self, request: Request) -> Response:
        def chunks() -> Chunks:
            try:
                while True:
                    yield bytes(1 << 20)
            finally:
                self.closed.set()

        self.entered.set()
        return StreamedResponse(chunks(), content_type="application/octet-stream")

    async def unmeasured(self, request: Request) -> Response:
        def chunks() -> Chunks:
            yield b"one "
            yield b"two"

        return StreamedResponse(chunks(), content_type="text/plain")

    async def read(self, request: Request) -> Response:
        self.entered.set()
        try:
            return Response(await request.body())
        except ClientDisconnect:
            return Response()
        finally:
            self.closed.set()

    async def wait(self, request: Request) -> Response:
        self.entered.set()
        try:
            await self.go_on.wait()
        finally:
            self.closed.set()
        return PlainTextResponse("done")


@pytest.fixture
async def application() -> Application:
    return Application()


@pytest.fixture
def options() -> ServerOptions:
    return ServerOptions(head_timeout=0.2, write_timeout=0.2, head_limit=4096, linger=0.3, grace=0.3)


@pytest.fixture
async def exchange(server: Server) -> Exchange:
    """Sends bytes on a new connection and reads until the server closes it."""

    async def exchange(sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(sent)
        async with asyncio.timeout(5):
            try:
                answer = await reader.read()
            except ConnectionError:
                answer = b""
        writer.close()
        return answer

    return exchange


GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_request_is_answered_with_a_date_and_no_word_of_the_server(exchange: Exchange) -> None:
    answer = await exchange(GET + CLOSE)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ndate: " in answer
    assert b"\r\nserver: " not in answer
    assert answer.endswith(b"hello http")


async def test_pipelined_requests_are_answered_in_order(exchange: Exchange) -> None:
    answer = await exchange(GET + b"\r\n" + GET + CLOSE)
    assert answer.count(b"HTTP/1.1 200 OK") == 2


async def test_a_client_of_http_1_0_gets_no_chunks_and_no_second_answer(exchange: Exchange) -> None:
    answer = await exchange(b"GET /unmeasured HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET + CLOSE)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert b"connection: close" in head
    assert body == b"one two"


PIPELINE = (
    b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello\r\n\r\nGE"
    b"HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nsome"
    b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n4\r\n two\r\n0\r\n\r\n"
    b"GET /unmeasured HTTP/1.1\r\nHost: x\r\n\r\n" + GET + CLOSE
)


@pytest.mark.parametrize("size", [*range(1, 24), 64, 100, len(PIPELINE)])
async def test_pipelined_requests_in_any_chunking_get_the_same_answers(server: Server, size: int) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    for start in range(0, len(PIPELINE), size):
        writer.write(PIPELINE[start : start + size])
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    answers = [part.partition(b"\r\n\r\n") for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert [(head[:3], body) for head, _, body in answers] == [
        (b"200", b"hello\r\n\r\nGE"),
        (b"200", b""),
        (b"405", b"Method Not Allowed"),
        (b"200", b"one two"),
        (b"200", b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"),
        (b"200", b"hello http"),
    ]


async def test_what_comes_of_a_request_is_acknowledged_at_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client with Nagle's algorithm that sends head and body apart waits 40 ms for it otherwise."""
    acknowledged = asyncio.Event()
    set_option = TransportSocket.setsockopt

    def noted(own: TransportSocket, level: int, option: int, value: int) -> None:
        set_option(own, level, option, value)
        if option == socket.TCP_QUICKACK:
            acknowledged.set()

    monkeypatch.setattr(TransportSocket, "setsockopt", noted)
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    async with asyncio.timeout(5):
        for piece in (b"POST /read HTTP/1.1\r\nHost: x\r\n", b"Content-Length: 9\r\n\r\n", b"one", b"two"):
            writer.write(piece)
            await acknowledged.wait()
            acknowledged.clear()
        writer.write(b"end")
        answer = await reader.readuntil(b"onetwoend")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert not acknowledged.is_set()  # the answer says it
    writer.close()


async def test_head_and_body_of_an_answer_come_in_one_piece(server: Server) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(b"GET /unmeasured HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        answer = await reader.read(65536)
    writer.close()
    assert answer.endswith(b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")


@pytest.mark.parametrize("hosts", [0, 2])
async def test_a_request_without_one_host_is_400(exchange: Exchange, hosts: int) -> None:
    answer = await exchange(b"GET /hello HTTP/1.1\r\n" + b"Host: x\r\n" * hosts + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert f"{hosts} Host headers; one wanted".encode() in answer


async def test_a_request_that_asks_for_another_protocol_is_answered_in_this_one(exchange: Exchange) -> None:
    answer = await exchange(GET + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + GET + CLOSE)
    assert answer.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("behind", [b"", GET + b"\r\n"])
async def test_who_sends_no_more_still_gets_every_answer(
    server: Server, application: Application, exchange: Exchange, behind: bytes
) -> None:
    """A client may close its side behind its last request (RFC 9112 9.6 speaks of the other side)."""
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(WAIT + behind)
    writer.write_eof()
    async with asyncio.timeout(5):
        await application.entered.wait()
        await exchange(GET + CLOSE)  # by then its end has been seen
        application.go_on.set()
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200 OK") == (2 if behind else 1)
    assert b"done" in answer
    writer.close()


async def test_who_goes_away_is_found_out_and_ends_what_only_they_would_have_had(
    server: Server, application: Application
) -> None:
    """A client that closes looks like one that only sends no more, until it is written to."""
    _, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(WAIT)
    await application.entered.wait()
    writer.close()
    async with asyncio.timeout(5):
        await application.closed.wait()


async def test_who_waits_long_for_the_answer_gets_it_behind_interim_ones(
    server: Server, application: Application
) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(WAIT)
    writer.write_eof()
    async with asyncio.timeout(5):
        interim = await reader.readuntil(b"\r\n\r\n")
        assert interim == b"HTTP/1.1 102 Processing\r\n\r\n"
        application.go_on.set()
        answer = await reader.read()
    assert answer.replace(interim, b"").startswith(b"HTTP/1.1 200 OK")
    assert b"done" in answer
    writer.close()


async def test_a_websocket_is_not_opened_in_the_middle_of_an_answer(
    server: Server, application: Application
) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    writer.write(WAIT + GET + upgrade + key + b"\r\n" + GET + CLOSE)
    async with asyncio.timeout(5):
        await application.entered.wait()
        application.go_on.set()
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.index(b"done") < answer.index(b"hello http")
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    writer.close()


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X: " + b"x" * 5000,
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n",
        GET + b"A: b\r\n" * 1000,
        GET + b"X" * 8000 + b": y",
    ],
)
@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
async def test_a_head_too_long_is_431(exchange: Exchange, head: bytes, end: bytes) -> None:
    answer = await exchange(head + end)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer
    assert b"4096 bytes" in answer


async def test_who_still_sends_a_head_too_long_sees_the_431(server: Server) -> None:
    """Closed with bytes unread, a connection is reset and the answer lost (RFC 9112 9.6)."""
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    async with asyncio.timeout(10):
        for _ in range(100):
            writer.write(b"GET /" + b"a" * 100_000)
            await writer.drain()
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 431 ")
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /hello HTTP/9.9\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"\0" * 100,
        b"EHLO example.org\r\n",
    ],
)
async def test_an_unreadable_request_is_400_as_a_problem(exchange: Exchange, sent: bytes) -> None:
    answer = await exchange(sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00DICOMWIRE       ",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x0bMSH|^~\\&|",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 4000 80\r\n",
    ],
)
async def test_another_protocol_is_closed_at_once(exchange: Exchange, sent: bytes) -> None:
    assert await exchange(sent) == b""


async def test_a_head_that_does_not_end_is_408(exchange: Exchange) -> None:
    answer = await exchange(GET)
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_says_nothing_is_closed(exchange: Exchange) -> None:
    assert await exchange(b"") == b""


async def test_a_client_that_takes_nothing_is_dropped(server: Server, application: Application) -> None:
    _, writer = await asyncio.open_connection(*server.addresses[0], limit=1024)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        await application.closed.wait()
    writer.close()


async def test_a_client_that_goes_away_ends_the_answer(server: Server, application: Application) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readexactly(3 << 20)
    writer.transport.abort()
    async with asyncio.timeout(5):
        await application.closed.wait()


async def test_a_refused_body_is_read_for_a_while_and_then_closed_on(exchange: Exchange) -> None:
    answer = await exchange(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome")
    assert answer.startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"FFFFFFFFFFFFFFFFFFFF\r\n", b"3\r\nabcdef\r\n"])
async def test_a_chunked_body_that_cannot_be_read_is_400_as_a_problem(
    exchange: Exchange, chunk: bytes
) -> None:
    head = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await exchange(head + chunk)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert answer.count(b"content-length: ") == 1


async def test_a_body_that_ends_before_its_length_is_400_as_a_problem(
    server: Server, application: Application
) -> None:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\nsome")
    async with asyncio.timeout(5):
        await application.entered.wait()
        writer.write_eof()
        answer = await reader.read()
        await application.closed.wait()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the request's body ends before its length" in answer


async def test_a_connection_is_used_again_after_a_refused_body(exchange: Exchange) -> None:
    answer = await exchange(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nsome" + GET + CLOSE)
    assert b"HTTP/1.1 405 " in answer
    assert b"HTTP/1.1 200 OK" in answer


async def test_requests_under_way_finish_when_the_server_stops(
    server: Server, application: Application, exchange: Exchange
) -> None:
    request = asyncio.create_task(exchange(WAIT))
    await application.entered.wait()
    stopping = asyncio.create_task(server.stop())
    application.go_on.set()
    assert (await request).endswith(b"done")
    await stopping


async def test_what_outlasts_the_time_of_grace_is_broken_off(
    server: Server, application: Application, exchange: Exchange
) -> None:
    requests = [
        asyncio.create_task(exchange(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"))
        for path in (b"/wait", b"/endless")
    ]
    await application.entered.wait()
    async with asyncio.timeout(4):
        await server.stop()
        await asyncio.gather(*requests)
    assert application.closed.is_set()


async def test_a_stopped_server_s_port_is_free_and_stop_may_come_twice(application: Application) -> None:
    sockets = bind("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    server = Server(application.app)
    await server.start(sockets)
    await server.stop()
    await server.stop()
    for sock in bind("127.0.0.1", port):
        sock.close()


def test_a_port_in_use_is_an_os_error() -> None:
    (sock,) = bind("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        bind("127.0.0.1", sock.getsockname()[1])
    sock.close()


async def test_h11_serves_where_httptools_is_absent(
    application: Application, options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicomwire.web.server.HTTPTOOLS", False)
    server = Server(application.app, options)
    await server.start(bind("127.0.0.1", 0))
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(GET + CLOSE)
    assert (await reader.read()).endswith(b"hello http")
    writer.close()
    await server.stop()


class TestTLS:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def options(self, authority: trustme.CA) -> ServerOptions:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        return ServerOptions(tls=context, grace=0.3)

    async def test_a_door_with_a_certificate_speaks_https(
        self, server: Server, authority: trustme.CA
    ) -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        reader, writer = await asyncio.open_connection(*server.addresses[0], ssl=context)
        writer.write(GET + CLOSE)
        assert (await reader.read()).endswith(b"hello https")
        writer.close()
