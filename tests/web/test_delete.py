"""DELETE of studies, series and instances."""

from __future__ import annotations

import pytest

from dicomwire.web.options import WebOptions

STUDY = "/studies/1.2.3"
SERIES = STUDY + "/series/1.2.3.4"
INSTANCE = SERIES + "/instances/1.2.3.4.1"


@pytest.fixture
def web_options() -> WebOptions:
    return WebOptions(delete=True)


@pytest.mark.parametrize(("path", "left"), [(STUDY, 1), (SERIES, 2), (INSTANCE, 3)])
async def test_what_is_deleted_is_gone_and_nothing_else(door, make_instance, path: str, left: int) -> None:
    await door.store(
        make_instance(1),
        make_instance(2),
        make_instance(series="1.2.3.5"),
        make_instance(study="2", series="2.1"),
    )
    assert (await door.client.delete(door.base + path)).status_code == 204
    for below in ("", "/metadata", "/rendered", "/bulkdata"):
        gone = await door.get(path + below)
        assert gone.status_code == 410, below
        assert gone.json()["detail"].endswith("was removed")
    assert (await door.client.delete(door.base + path)).status_code == 410
    assert (await door.get(INSTANCE)).status_code == 410
    assert (await door.get(INSTANCE + "/frames/1")).status_code == 410
    assert (await door.get(path[:-1] + "9")).status_code == 404
    assert len((await door.get("/instances")).json()) == left
    assert len((await door.get("/studies")).json()) == (1 if path == STUDY else 2)


async def test_wado_uri_tells_what_was_deleted(door, make_instance) -> None:
    await door.store(make_instance())
    await door.client.delete(door.base + INSTANCE)
    url = f"{door.base}/wado?requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.4&objectUID=1.2.3.4."
    assert (await door.client.get(url + "1")).status_code == 410
    assert (await door.client.get(url + "2")).status_code == 404


async def test_conflicting_versions_go_with_the_instance(door, make_instance) -> None:
    await door.store(make_instance(1))
    assert (await door.store(make_instance(1, frames=(b"\0" * 8,)))).status_code == 202
    assert (await door.client.delete(door.base + INSTANCE)).status_code == 204
    assert (await door.get("/instances")).status_code == 204
    assert (await door.store(make_instance(1, frames=(b"\0" * 8,)))).status_code == 200


async def test_a_deleted_instance_can_be_stored_anew(door, make_instance) -> None:
    await door.store(make_instance())
    await door.client.delete(door.base + STUDY)
    assert (await door.store(make_instance())).status_code == 200
    assert (await door.get(INSTANCE, "application/dicom")).content == make_instance().file


async def test_a_path_that_is_no_uid_deletes_nothing(door, make_instance) -> None:
    await door.store(make_instance())
    assert (await door.client.delete(f"{door.base}/studies/1.2.%2E%2E")).status_code == 400
    assert (await door.client.delete(f"{door.base}/studies")).status_code == 405
    assert len((await door.get("/instances")).json()) == 1
