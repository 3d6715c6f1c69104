"""Jobs and procedure steps as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from dicomwire.access.permission import Permission
from dicomwire.node import work_api
from dicomwire.node.login import operation
from dicomwire.web.problems import PAGES
from dicomwire.work import availability, jobs, procedure_steps
from dicomwire.work.procedure_steps import Followers
from dicomwire.work.store import Store, open_store
from tests.work.steps import SERIES, STUDY, beginning, end


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two steps, one of which has ended, the jobs that follow, and a notification."""
    store = open_store(tmp_path)
    for number in (1, 2):
        store.apply(
            lambda change, number=number: procedure_steps.create(  # type: ignore[misc]
                change, f"1.2.{number}", beginning(), Followers(("RIS",)), now=float(number)
            )
        )
    store.apply(lambda change: procedure_steps.update(change, "1.2.2", end(), Followers(), now=3.0))
    store.apply(lambda change: jobs.add(change, "availability", "PACS", "{}", now=4.0))
    told = availability.notification(STUDY, [(SERIES, "1.2.840.10008.5.1.4.1.1.2", "1.2.9")], [], "ARCHIVE")
    store.apply(lambda change: availability.take(change, "1.2.7", "ARCHIVE", told, now=5.0))
    yield store
    store.close()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=work_api.routes(store), exception_handlers=PAGES))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield client


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["1.2.2", "1.2.1"]),
        ("?limit=1", ["1.2.2"]),
        ("?uid=1.2.1", ["1.2.1"]),
        (f"?study={STUDY}", ["1.2.1", "1.2.2"]),
        ("?accession=A1", ["1.2.1", "1.2.2"]),
        ("?step=S1&limit=1", ["1.2.1"]),
        (f"?series={SERIES}", ["1.2.2"]),
        ("?study=1.9", []),
    ],
)
async def test_steps_are_found_from_what_they_belong_to(
    client: httpx.AsyncClient, query: str, found: list[str]
) -> None:
    answer = await client.get(f"/api/procedure-steps{query}")
    assert [step["sop_instance_uid"] for step in answer.json()] == found


async def test_a_step_is_told_whole(client: httpx.AsyncClient) -> None:
    (step,) = (await client.get("/api/procedure-steps?uid=1.2.2")).json()
    assert (step["status"], step["changed"]) == ("COMPLETED", "1970-01-01T00:00:03.000+00:00")
    assert step["attributes"]["00400252"]["Value"] == ["COMPLETED"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["availability", "mpps-forward", "mpps-forward"]),
        ("?kind=availability", ["availability"]),
        ("?destination=RIS&limit=1", ["mpps-forward"]),
        ("?state=failed&state=done", []),
    ],
)
async def test_jobs_are_told_without_their_payload(
    client: httpx.AsyncClient, query: str, found: list[str]
) -> None:
    told = (await client.get(f"/api/jobs{query}")).json()
    assert [job["kind"] for job in told] == found
    assert all("payload" not in job for job in told)


ROWS = ("jobs", "procedure-steps", "availability")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/procedure-steps?uid=1.9", 404),
        ("/api/procedure-steps?patient=x", 400),
        ("/api/availability?patient=x", 400),
        ("/api/jobs?state=lost", 400),
        *((f"/api/{rows}?limit={text}", 400) for rows in ROWS for text in ("0", "1001", "many", "1&limit=2")),
    ],
)
async def test_what_cannot_be_is_a_problem(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (
        status,
        "application/problem+json",
    )


async def test_nothing_is_changed_over_http(client: httpx.AsyncClient) -> None:
    for path in ("/api/jobs", "/api/procedure-steps", "/api/availability"):
        assert (await client.post(path)).status_code == 405


async def test_notifications_are_found_by_their_study(client: httpx.AsyncClient) -> None:
    (told,) = (await client.get(f"/api/availability?study={STUDY}")).json()
    assert (told["sop_instance_uid"], told["ae_title"]) == ("1.2.7", "ARCHIVE")
    assert len((await client.get("/api/availability")).json()) == 1
    assert (await client.get("/api/availability?study=1.9")).json() == []
    assert operation("GET", "/api/availability", "/dicom-web/") is Permission.NOTIFY


def test_steps_name_patients_and_need_their_permission() -> None:
    assert operation("GET", "/api/procedure-steps", "/dicom-web/") is Permission.MPPS
    assert operation("GET", "/api/procedure-steps/", "/dicom-web/") is Permission.MPPS
