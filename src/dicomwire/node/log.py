"""Where log events go: lines for people or JSON on stderr, the standard library's loggers too."""

from __future__ import annotations

import asyncio
import atexit
import logging
import re
import sys
import threading
import time
from collections.abc import MutableMapping
from functools import lru_cache
from typing import TextIO

import structlog

# Loggers of libraries say at INFO what the node says better itself.
EVENT_WIDTH = 28  # characters
_NEEDS_QUOTES = re.compile(r"[\s=\"']")
_LIBRARIES = ("asyncio", "uvicorn", "sqlalchemy", "alembic")


def configure(level_name: str, format: str, stream: TextIO | None = None) -> None:
    """Send every log event to a stream; call it once, before anything logs.

    Args:
        level_name: the lowest that is shown, such as `info`.
        format: `human` or `json`.
        stream: stderr without it.
    """
    level = logging.getLevelNamesMapping()[level_name.upper()]
    stream = stream or sys.stderr
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        stamp,
        escape,
    ]
    if format == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    elif stream.isatty():
        renderer = structlog.dev.ConsoleRenderer(
            pad_event_to=EVENT_WIDTH,
            timestamp_key="time",
            exception_formatter=structlog.dev.plain_traceback,
        )
        processors.append(renderer)
    else:
        processors += [structlog.processors.format_exc_info, plain]
    lines = Lines(stream)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *arguments: lines,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_Forward()]
    root.setLevel(max(level, logging.WARNING))
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def stamp(logger: object, method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """The time in UTC as ISO 8601 has it, to the microsecond."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    event["time"] = f"{_second(seconds)}.{nanoseconds // 1000:06}Z"
    return event


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def escape(logger: object, method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """Control characters in what peers sent, as `\\x1b`: no log line is forged and no terminal driven."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return event


def plain(logger: object, method: str, event: MutableMapping[str, object]) -> str:
    """A line as on a terminal but for colours, at half the cost: each association writes two."""
    exception = event.pop("exception", None)
    head = f"{event.pop('time')} [{event.pop('level'):9}] {event.pop('event'):{EVENT_WIDTH}}"
    fields = [f"{key}={_shown(event[key])}" for key in sorted(event)]
    line = " ".join((head, *fields)).rstrip()
    return f"{line}\n{exception}" if exception else line


def _shown(value: object) -> str:
    if isinstance(value, str) and value and not _NEEDS_QUOTES.search(value):
        return value
    return repr(value)


class Lines:
    """What structlog hands finished lines to; those of one turn of the loop are written together.

    A node does not end because nobody reads its log any more.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._lock = threading.Lock()
        atexit.register(self.flush)

    def msg(self, line: str) -> None:
        """Write one line, at the end of the loop's turn or, outside of a loop, at once."""
        with self._lock:
            self._lines.append(line + "\n")
            first = len(self._lines) == 1
        if not first:
            return
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:  # no loop in this thread, or one that closes
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            lines, self._lines = self._lines, []
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):  # a broken pipe; a closed stream
            return

    debug = info = warning = error = critical = log = msg


class _Forward(logging.Handler):
    """The standard library's records as events."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
