"""Query/Retrieve loads: a study by C-MOVE into a sink, or by C-GET (PS3.4 C.4.2, C.4.3)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from benchmarks import wire
from benchmarks.data import Instance
from benchmarks.load import Load, LoadError
from benchmarks.receivers import Receiver, Sink

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
COMPLETED = 0x1021  # Number of Completed Sub-operations (PS3.7 E.1)
TIMEOUT = 600.0  # seconds without an answer
MAXIMUM_LENGTH = 131_072  # bytes of a PDU that the sink of a C-GET takes


@contextmanager
def move(receiver: Receiver, instances: Sequence[Instance]) -> Iterator[Load]:
    """C-MOVE a study to the sink; the association is released on leaving the context."""
    association = wire.associate(
        receiver.dimse_port,
        called_ae_title=receiver.ae_title,
        abstract_syntax=STUDY_ROOT_MOVE,
        timeout=TIMEOUT,
    )
    started = time.perf_counter()
    answer = association.move(STUDY_ROOT_MOVE, instances[0].study_instance_uid, Sink.ae_title)
    yield _load(time.perf_counter() - started, instances, answer)
    _end(association)


@contextmanager
def get(receiver: Receiver, instances: Sequence[Instance]) -> Iterator[Load]:
    """C-GET a study and forget it; the association is released on leaving the context."""
    association = wire.associate(
        receiver.dimse_port,
        called_ae_title=receiver.ae_title,
        abstract_syntax=STUDY_ROOT_GET,
        scp_of=instances[0].sop_class_uid,
        maximum_length=MAXIMUM_LENGTH,
        timeout=TIMEOUT,
    )
    started = time.perf_counter()
    answer, received = association.get(STUDY_ROOT_GET, instances[0].study_instance_uid)
    seconds = time.perf_counter() - started
    wanted = sum(each.length for each in instances)
    if received < wanted:
        raise LoadError(f"C-GET brought {received} bytes; the instances have {wanted}")
    yield _load(seconds, instances, answer)
    _end(association)


def _end(association: wire.Established) -> None:
    with suppress(OSError, wire.PeerError):  # it may have waited longer than the peer's patience
        association.release()


def _load(seconds: float, instances: Sequence[Instance], answer: dict[int, int]) -> Load:
    if answer[0x0900] != 0 or answer.get(COMPLETED) != len(instances):
        what = f"status {answer[0x0900]:04X}H and {answer.get(COMPLETED)} completed"
        raise LoadError(f"{len(instances)} instances were answered with {what}")
    return Load(seconds, len(instances), sum(each.length for each in instances))
