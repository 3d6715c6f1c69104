"""Log lines: for people, for programs, and never forged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from dicomwire.node import log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def test_json_is_one_object_a_line() -> None:
    stream = io.StringIO()
    log.configure("info", "json", stream)
    structlog.get_logger().info("association accepted", peer="10.0.0.1:4000", contexts=3)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["peer"], line["contexts"], line["level"]) == (
        "association accepted",
        "10.0.0.1:4000",
        3,
        "info",
    )
    assert line["time"].endswith("Z")


def test_line_for_people_has_its_fields_in_order_and_quotes_what_could_be_misread() -> None:
    stream = io.StringIO()
    log.configure("info", "human", stream)
    structlog.get_logger().info(
        "association ended", peer="[::1]:4000", how="by us: x=1", count=3, user="", tls=None
    )
    time, _, rest = stream.getvalue().partition(" ")
    assert time.endswith("Z")
    assert rest == (
        "[info     ] association ended            count=3 how='by us: x=1' peer=[::1]:4000 tls=None user=''\n"
    )


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    log.configure("warning", "human", stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


@pytest.mark.parametrize("format", ["human", "json"])
def test_what_a_peer_sent_cannot_forge_a_line(format: str) -> None:
    stream = io.StringIO()
    log.configure("info", format, stream)
    structlog.get_logger().info("association rejected", calling_ae_title="X\n2026 [info] forged\x1b[2J")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b[2J" not in stream.getvalue()


def test_the_standard_librarys_loggers_are_heard() -> None:
    stream = io.StringIO()
    log.configure("info", "json", stream)
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("uvicorn.error").info("not heard")
    assert json.loads(stream.getvalue())["event"] == "slow callback"


def test_a_reader_that_went_away_ends_nothing() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    log.configure("info", "human", Broken())
    structlog.get_logger().info("into the void")


def test_a_failure_is_logged_with_its_traceback() -> None:
    stream = io.StringIO()
    log.configure("info", "human", stream)
    try:
        raise ValueError("what went wrong")
    except ValueError:
        structlog.get_logger().exception("service failed")
    assert "ValueError: what went wrong" in stream.getvalue()
