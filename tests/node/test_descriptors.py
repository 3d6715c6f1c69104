"""The limit of open files: raised as far as is wanted and may be, never lowered."""

from __future__ import annotations

import resource
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from dicomwire.node import descriptors
from dicomwire.node.settings import Settings

Log = list[MutableMapping[str, Any]]


@pytest.fixture
def log() -> Iterator[Log]:
    with structlog.testing.capture_logs() as events:
        yield events


class Process:
    """A process's limit, in place of ours."""

    def __init__(self, soft: int, hard: int) -> None:
        self.limits = (soft, hard)
        self.refuses = False

    def get(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.limits

    def set(self, which: int, limits: tuple[int, int]) -> None:
        if self.refuses:
            raise ValueError("not allowed to raise maximum limit")
        self.limits = limits


@pytest.fixture
def process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Process:
    process = Process(*request.param)
    monkeypatch.setattr(resource, "getrlimit", process.get)
    monkeypatch.setattr(resource, "setrlimit", process.set)
    return process


@pytest.mark.parametrize(
    ("process", "soft", "warned"),
    [
        ((1024, 20_000), 5000, False),
        ((8000, 20_000), 8000, False),
        ((1024, 4096), 4096, True),
        ((1024, resource.RLIM_INFINITY), 5000, False),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), resource.RLIM_INFINITY, False),
    ],
    indirect=["process"],
)
def test_limit_is_raised_to_what_is_wanted_or_may_be(
    process: Process, soft: int, warned: bool, log: Log
) -> None:
    descriptors.raise_limit(5000)
    assert process.limits[0] == soft
    assert [event["event"] for event in log] == ["too few open files for the configured limits"] * warned


@pytest.mark.parametrize("process", [(1024, 20_000)], indirect=True)
def test_limit_that_may_not_be_raised_is_a_warning(process: Process, log: Log) -> None:
    process.refuses = True
    descriptors.raise_limit(5000)
    assert process.limits == (1024, 20_000)
    assert log[-1]["possible"] == 1024


def test_wanted_are_the_associations_connections_and_more() -> None:
    settings = Settings.model_validate({"dimse": {"limits": {"associations": 10, "half_open": 20}}})
    assert descriptors.wanted(settings) > 10 + 20 + settings.web.connections
