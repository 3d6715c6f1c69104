"""Storage Commitment as a web client asks for it: what services answer."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from dicomwire.errors import WebServiceError
from dicomwire.web.client import WebClient
from dicomwire.web.commitment_client import ask
from dicomwire.work.commitment import Reference, Result

CT = "1.2.840.10008.5.1.4.1.1.2"
HELD, MISSING = Reference(CT, "1.2.3.1"), Reference(CT, "1.2.3.2")


def item(reference: Reference, reason: int | None = None) -> dict[str, object]:
    """An item of a result."""
    found: dict[str, object] = {
        "00081150": {"vr": "UI", "Value": [reference.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [reference.sop_instance_uid]},
    }
    return found if reason is None else found | {"00081197": {"vr": "US", "Value": [reason]}}


RESULT = {
    "00081199": {"vr": "SQ", "Value": [item(HELD)]},
    "00081198": {"vr": "SQ", "Value": [item(MISSING, 0x0112)]},
}


async def asked(*answers: tuple[str, object], wait: float = 5.0) -> tuple[Result, list[str]]:
    """What comes of asking a service that answers so, and the requests that it got.

    answers: status line with headers, and content; the last one again and again.
    """
    left, got = list(answers), list[str]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        got.append(head.splitlines()[0])
        if length := re.search(r"content-length: (\d+)", head, re.IGNORECASE):
            await reader.readexactly(int(length[1]))
        status, content = left.pop(0) if len(left) > 1 else left[0]
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with WebClient(f"http://127.0.0.1:{port}/dicom-web") as client:
            return await ask(client, "2.25.1", [HELD, MISSING], wait=wait), got


@pytest.mark.parametrize("content", [RESULT, [RESULT]])
async def test_the_result_is_an_object_or_an_array_with_it(content: object) -> None:
    result, got = await asked(("200 OK", content))
    assert result == Result("2.25.1", (HELD,), ((MISSING, 0x0112),))
    assert got == ["POST /dicom-web/commitment-requests/2.25.1 HTTP/1.1"]


async def test_a_result_that_comes_later_is_asked_for() -> None:
    later = "202 Accepted\r\nRetry-After: 0"
    result, got = await asked((later, b""), (later, b""), ("200 OK", RESULT))
    assert result.committed == (HELD,)
    assert [line.partition(" ")[0] for line in got] == ["POST", "GET", "GET"]


async def test_a_result_that_does_not_come_in_time_names_nothing() -> None:
    result, _ = await asked(("202 Accepted", b""), wait=0.05)
    assert result == Result("2.25.1", (), ())


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 20_000, [], "x", {"00081198": {"vr": "SQ", "Value": [{}]}}]
)
async def test_what_is_no_result_is_told(content: object) -> None:
    with pytest.raises(WebServiceError, match="the result cannot be read"):
        await asked(("200 OK", content))


async def test_a_refusal_is_told() -> None:
    with pytest.raises(WebServiceError, match="409"):
        await asked(("409 Conflict", b""))
