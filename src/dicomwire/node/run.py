"""The process of a node: event loop, signals, the ready line, the exit status."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import structlog

from dicomwire.dicom.ebb import keep_heap
from dicomwire.errors import ConfigurationError
from dicomwire.node import descriptors, exposure
from dicomwire.node import log as logs
from dicomwire.node.facts import Facts, hints, location
from dicomwire.node.node import Node
from dicomwire.node.settings import Settings

# Seconds that a thread may keep the interpreter from one that waits for it. A reader beside a busy thread
# waits less with less; but two busy threads rob each other of a third of their time.
SWITCH_INTERVAL = 0.001
BLOCKS = 1 << 20  # bytes of a piece of a body, and more
KEPT = 8 << 20  # bytes of the heap that are kept free

log = structlog.get_logger()


def serve(settings: Settings) -> int:
    """Run a node until a signal ends it.

    Returns: the exit status, 0 after SIGTERM or SIGINT.
    Raises: ConfigurationError, when the node cannot be as it is configured.
    """
    if faults := (*exposure.unavailable(settings), *exposure.refusals(settings)):
        raise ConfigurationError("\n".join(faults))
    logs.configure(settings.log.level, settings.log.format)
    sys.setswitchinterval(SWITCH_INTERVAL)
    keep_heap(BLOCKS, KEPT)
    descriptors.raise_limit(descriptors.wanted(settings))
    node = Node(settings)
    with asyncio.Runner(loop_factory=_loop_factory(settings.node.event_loop)) as runner:
        return runner.run(_run(node))


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio" or (name == "auto" and sys.platform != "linux"):
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        if name == "uvloop":
            raise ConfigurationError("node.event_loop is uvloop, which is not installed") from None
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _run(node: Node) -> int:
    ended = asyncio.Event()
    _watch_signals(ended)
    await node.start()
    # What exists now lives as long as the process: no collection has to look at it again.
    gc.collect()
    gc.freeze()
    _announce(node.facts())
    await ended.wait()
    await node.stop()
    return 0


def _watch_signals(ended: asyncio.Event) -> None:
    """The first signal ends the node in good order, the second at once."""

    def received(number: int) -> None:
        if ended.is_set():
            os._exit(128 + number)
        log.info("signal", name=signal.Signals(number).name)
        ended.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)


def _announce(facts: Facts) -> None:
    """The ready line, and what to try next, on stdout."""
    dimse = f"{facts.ae_title}@{location(facts.dimse.host, facts.dimse.port)}"
    lines = [f"ready: DIMSE {dimse}{' over TLS' if facts.dimse.tls else ''}, DICOMweb {facts.dicomweb}"]
    width = max(len(what) for what, _ in hints(facts))
    lines += ["", *(f"  {what:{width}}  {how}" for what, how in hints(facts))]
    lines += [f"  {'Look at it':{width}}  {facts.public_url}/", ""]
    with suppress(OSError):
        print("\n".join(lines), flush=True)
