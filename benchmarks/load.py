"""DIMSE loads: the same client for every receiver, and a cheap one, so that the receiver is what is measured.

`send_raw` forks one process an association; each negotiates, encodes its whole share, and waits. The clock
runs from the common start to the last response. Associations stay open until the receiver's memory is read.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks import wire
from benchmarks.data import Instance
from benchmarks.receivers import system_program

IN_MEMORY = 4 << 20  # bytes: larger instances are encoded while they are sent
WATCH = 0.1  # seconds between two looks at a receiver under load
SEND_TIMEOUT = 600.0  # seconds without an answer to one instance


class LoadError(Exception):
    """Not every instance was answered with success."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the client saw: wall-clock seconds, instances, bytes, and each instance's time to its answer."""

    seconds: float
    instances: int
    bytes: int
    latencies: list[float] = field(default_factory=list)


@contextmanager
def send_raw(port: int, ae_title: str, instances: Sequence[Instance], associations: int) -> Iterator[Load]:
    """C-STORE all `instances` over so many associations, which are released on leaving the context."""
    context = multiprocessing.get_context("fork")
    with ExitStack() as stack:
        ends: list[Connection] = []
        for number in range(associations):
            ours, theirs = context.Pipe()
            share = instances[number::associations]
            sender = context.Process(target=_send, args=(theirs, port, ae_title, share), daemon=True)
            sender.start()
            theirs.close()
            stack.callback(sender.join, 30.0)
            ends.append(ours)
        for end in ends:
            _expect(end, "ready")
        started = time.perf_counter()
        for end in ends:
            end.send("go")
        results: list[tuple[float, Counter[int], list[float]]] = [_result(end) for end in ends]
        statuses = sum((result[1] for result in results), Counter())
        if statuses != {0: len(instances)}:
            words = ", ".join(f"{count} x {status:04X}H" for status, count in sorted(statuses.items()))
            raise LoadError(f"{len(instances)} instances were answered with {words}")
        yield Load(
            seconds=max(result[0] for result in results) - started,
            instances=len(instances),
            bytes=sum(each.length for each in instances),
            latencies=sorted(latency for result in results for latency in result[2]),
        )
        for end in ends:
            end.send("release")


@contextmanager
def send_storescu(
    port: int,
    ae_title: str,
    files: Sequence[Path],
    associations: int,
    *,
    nodelay: bool,
    watch: Callable[[], None],
) -> Iterator[Load]:
    """C-STORE the files with DCMTK's storescu processes, their start-up included.

    `watch` is called every now and then while they run: their associations end before the context is entered.
    """
    program = system_program("storescu")
    if not program:
        raise LoadError("storescu is not installed (apt-get install dcmtk)")
    environment = {**os.environ, "TCP_NODELAY": "1"}
    if not nodelay:
        del environment["TCP_NODELAY"]
    started = time.perf_counter()
    senders = [
        subprocess.Popen(
            [program, "-R", "-aec", ae_title, "127.0.0.1", str(port), *map(str, files[number::associations])],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for number in range(associations)
    ]
    for sender in senders:
        said = _end(sender, watch)
        if sender.returncode:
            raise LoadError(
                f"storescu ended with {sender.returncode}: {said[-300:].decode(errors='replace')}"
            )
    yield Load(
        seconds=time.perf_counter() - started,
        instances=len(files),
        bytes=sum(each.stat().st_size for each in files),
    )


def _end(sender: subprocess.Popen[bytes], watch: Callable[[], None]) -> bytes:
    """Wait for the process to end; what it said on stderr."""
    while True:
        try:
            return sender.communicate(timeout=WATCH)[1]
        except subprocess.TimeoutExpired:
            watch()


def _send(end: Connection, port: int, ae_title: str, instances: Sequence[Instance]) -> None:
    """One association in a process of its own: ready, go, result, release."""
    try:
        association = wire.associate(
            port, called_ae_title=ae_title, abstract_syntax=instances[0].sop_class_uid, timeout=SEND_TIMEOUT
        )
        encoded = [_encoded(association.fragment, number, each) for number, each in enumerate(instances)]
        end.send("ready")
        _expect(end, "go")
        statuses: Counter[int] = Counter()
        latencies: list[float] = []
        for pieces in encoded:
            began = time.perf_counter()
            for piece in pieces():
                association.socket.sendall(piece)
            statuses[association.receive_status()] += 1
            latencies.append(time.perf_counter() - began)
        end.send((time.perf_counter(), statuses, latencies))
        _expect(end, "release")
        association.release()
    except (OSError, wire.PeerError) as error:
        end.send(error)
    except EOFError:
        return


def message(fragment: int, number: int, instance: Instance) -> Iterator[bytes]:
    """The C-STORE-RQ of an instance that is the `number`th on its association, counted from 0."""
    return wire.store(
        fragment,
        message_id=number % 65535 + 1,
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        data=instance.data_set(),
    )


def _encoded(fragment: int, number: int, instance: Instance) -> Callable[[], Iterator[bytes]]:
    if instance.length > IN_MEMORY:
        return lambda: message(fragment, number, instance)
    encoded = b"".join(message(fragment, number, instance))
    return lambda: iter((encoded,))


def _expect(end: Connection, word: str) -> None:
    said = end.recv()
    if said != word:
        raise LoadError(f"a sender said {said!r} instead of {word!r}")


def _result(end: Connection) -> tuple[float, Counter[int], list[float]]:
    said = end.recv()
    if not isinstance(said, tuple):
        raise LoadError(f"a sender failed: {said!r}")
    finished, statuses, latencies = said
    return finished, statuses, latencies
