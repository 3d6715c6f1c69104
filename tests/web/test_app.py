"""The application as a whole: faults, CORS, where it is mounted."""

from __future__ import annotations

import logging

import pytest

from dicomwire.web.options import WebOptions


async def test_our_own_faults_are_500_as_a_problem_without_their_words(door, monkeypatch, caplog) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(door.archive, "plan", broken, raising=False)
    with caplog.at_level(logging.CRITICAL):
        response = await door.get("/studies/1.2.3")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text


async def test_a_fault_behind_the_first_byte_breaks_the_connection(door, make_instance, monkeypatch) -> None:
    await door.store(make_instance(1), make_instance(2))
    opened = door.archive.open_stored
    calls = []

    def broken(stored):
        calls.append(stored)
        if len(calls) > 1:
            raise RuntimeError("gone")
        return opened(stored)

    monkeypatch.setattr(door.archive, "open_stored", broken, raising=False)
    with pytest.raises(Exception, match=r"closed|incomplete|disconnected"):
        await door.get("/studies/1.2.3/metadata")


async def test_a_bad_host_is_400(door) -> None:
    response = await door.get("/studies/1.2.3", Host="a b/c")
    assert response.status_code == 400
    assert "Host" in response.json()["detail"]


async def test_pages_of_other_origins_get_nothing_by_default(door, make_instance) -> None:
    await door.store(make_instance())
    response = await door.get("/studies/1.2.3/metadata", Origin="https://viewer.example")
    assert "access-control-allow-origin" not in response.headers


class TestCORS:
    @pytest.fixture
    def web_options(self) -> WebOptions:
        return WebOptions(cors_origins=("https://viewer.example",))

    async def test_named_origins_may_ask_and_read(self, door, make_instance) -> None:
        await door.store(make_instance())
        origin = {"Origin": "https://viewer.example"}
        response = await door.get("/studies/1.2.3/metadata", **origin)
        assert response.headers["access-control-allow-origin"] == "https://viewer.example"
        preflight = await door.client.options(
            f"{door.base}/studies", headers={**origin, "Access-Control-Request-Method": "POST"}
        )
        assert preflight.status_code == 200
        headers = "authorization, if-match, x-requested-with"
        asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": headers}
        preflight = await door.client.options(f"{door.base}/studies", headers=origin | asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-headers"] == headers
        assert response.headers["access-control-allow-credentials"] == "true"
        assert preflight.headers["access-control-allow-credentials"] == "true"
        other = await door.get("/studies/1.2.3/metadata", Origin="https://evil.example")
        assert "access-control-allow-origin" not in other.headers
