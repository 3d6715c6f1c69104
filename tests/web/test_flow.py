"""How a store request and the archive hold each other back, with an archive that does as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.requests import Request

from dicomwire.archive.archive import Outcome, Verdict
from dicomwire.archive.transcoder import Transcoder
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem
from dicomwire.web.store import Store

RELATED = b'multipart/related; type="application/dicom"; boundary=B'


class Reception:
    """Takes everything; congested and silent as told."""

    def __init__(self, archive: Archive, uid: str) -> None:
        self.archive = archive
        self.uid = uid
        self.data = bytearray()
        self.aborted = False
        self.finished: Callable[[Outcome], None] | None = None

    @property
    def congested(self) -> bool:
        return not self.archive.room.is_set()

    async def drain(self) -> None:
        self.archive.draining.set()
        await self.archive.room.wait()

    def write(self, data: memoryview) -> None:
        self.data += data

    def abort(self) -> None:
        self.aborted = True

    def finish(self, done: Callable[[Outcome], None]) -> None:
        self.finished = done
        if self.archive.verdict is not None:
            outcome = Outcome(self.archive.verdict, "as told", "1.2", self.uid, "1.2.3", "1.2.3.4", 1)
            asyncio.get_running_loop().call_soon(done, outcome)


class Archive:
    data = Path("/nonexistent")  # nothing is spooled

    def __init__(self) -> None:
        self.receptions: list[Reception] = []
        self.room = asyncio.Event()
        self.room.set()
        self.draining = asyncio.Event()
        self.verdict: Verdict | None = Verdict.STORED

    def receive(self, *, sop_instance_uid: str, **_: object) -> Reception:
        self.receptions.append(Reception(self, sop_instance_uid))
        return self.receptions[-1]


class Body:
    """The chunks of a body, as the server hands them on."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)

    async def receive(self) -> dict[str, object]:
        if not self.chunks:
            return {"type": "http.disconnect"}
        chunk = self.chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks)}


class Interrupted(Body):
    """A body that breaks off behind its last chunk."""

    async def receive(self) -> dict[str, object]:
        return {**await super().receive(), "more_body": True}


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


async def post(archive: Archive, body: Body, **options: float):
    """The status, headers and document of a store request."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/studies",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 5),
        "path_params": {},
        "query_string": b"",
        "headers": [(b"host", b"x"), (b"content-type", RELATED)],
    }
    store = Store(archive, WebOptions(**options), Transcoder(archive))
    return await store(Request(scope, body.receive))


async def test_nothing_is_read_while_the_archive_has_no_room(make_instance) -> None:
    archive = Archive()
    whole = (
        b"--B\r\n\r\n" + make_instance(extra=b"\x29\0\x10\x10UN\0\0\x40\x42\x0f\0" + bytes(1_000_000)).file
    )
    body = Body(*cut(whole + b"\r\n--B--", 65_536))
    archive.room.clear()
    request = asyncio.create_task(post(archive, body))
    await asyncio.wait_for(archive.draining.wait(), 5)
    left = len(body.chunks)
    assert left > 10
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(body.chunks) == left
    archive.room.set()
    assert (await request).status_code == 200


async def test_complete_instances_hold_the_next_back_too(make_instance) -> None:
    archive = Archive()
    parts = [b"\r\n--B\r\n\r\n" + make_instance(number).file for number in range(1, 6)]
    body = Body(b"".join(parts[:2]) + b"\r\n--B\r\n", parts[2][7:], *parts[3:], b"\r\n--B--")
    archive.room.clear()
    request = asyncio.create_task(post(archive, body))
    await asyncio.wait_for(archive.draining.wait(), 5)
    assert len(archive.receptions) == 2
    archive.room.set()
    assert (await request).status_code == 200
    assert len(archive.receptions) == 5


async def test_room_that_does_not_come_is_503_and_the_instance_is_dropped(make_instance) -> None:
    archive = Archive()
    archive.room.clear()
    body = Body(*cut(b"--B\r\n\r\n" + make_instance().file + bytes(100), 400))
    with pytest.raises(Problem) as caught:
        await post(archive, body, drain_timeout=0.05)
    assert caught.value.status == 503
    assert caught.value.headers["Retry-After"]
    assert archive.receptions[0].aborted


async def test_a_verdict_that_does_not_come_is_a_failure(make_instance) -> None:
    archive = Archive()
    archive.verdict = None
    body = Body(b"--B\r\n\r\n" + make_instance().file + b"\r\n--B--")
    response = await post(archive, body, commit_timeout=0.05)
    assert response.status_code == 409
    assert json.loads(response.body)["00081198"]["Value"][0]["00081197"]["Value"] == [0x0110]
    archive.receptions[0].finished(Outcome(Verdict.STORED, "", "1.2", "1.2.3.4.1", "1.2.3", "1.2.3.4", 1))


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict.STORED, 200),
        (Verdict.ALREADY_STORED, 200),
        (Verdict.REPLACED, 200),
        (Verdict.CONFLICT, 202),
        (Verdict.DUPLICATE_REJECTED, 409),
        (Verdict.MISMATCH, 409),
        (Verdict.NOT_UNDERSTOOD, 409),
        (Verdict.OUT_OF_RESOURCES, 507),
    ],
)
async def test_every_verdict_has_its_status(make_instance, verdict: Verdict, status: int) -> None:
    archive = Archive()
    archive.verdict = verdict
    response = await post(archive, Body(b"--B\r\n\r\n" + make_instance().file + b"\r\n--B--"))
    assert response.status_code == status
    assert ("00081199" in json.loads(response.body)) == (status < 300)


@pytest.mark.parametrize("size", [1, 7, 400, 100_000])
async def test_the_data_set_arrives_whole_whatever_the_chunks(make_instance, size: int) -> None:
    archive = Archive()
    instances = [make_instance(number) for number in (1, 2)]
    body = b"".join(b"\r\n--B\r\n\r\n" + instance.file for instance in instances) + b"\r\n--B--"
    response = await post(archive, Body(*cut(body, size)))
    assert response.status_code == 200
    assert [bytes(reception.data) for reception in archive.receptions] == [
        each.data_set for each in instances
    ]


async def test_a_client_that_goes_away_aborts_only_what_was_under_way(make_instance) -> None:
    archive = Archive()
    first, second = make_instance(1), make_instance(2)
    body = Interrupted(b"--B\r\n\r\n" + first.file + b"\r\n--B\r\n\r\n", second.file[:-2])
    await post(archive, body)
    assert archive.receptions[0].finished is not None
    assert not archive.receptions[0].aborted
    assert archive.receptions[1].aborted
