"""Associations opened, echoed over and released one after the other: what a short one costs (PS3.8 7)."""

from __future__ import annotations

import time

from pynetdicom import StoragePresentationContexts

from benchmarks import wire
from benchmarks.load import Load
from benchmarks.receivers import Receiver

SYNTAXES = (wire.EXPLICIT, wire.IMPLICIT, "1.2.840.10008.1.2.2")
WARMING = 20  # associations before it counts


def establish(receiver: Receiver, count: int, contexts: int) -> Load:
    """So many associations of so many presentation contexts, Verification and storage classes."""
    classes = [str(context.abstract_syntax) for context in StoragePresentationContexts]
    proposed = [(uid, SYNTAXES) for uid in [wire.VERIFICATION, *classes, *classes][:contexts]]
    request = wire.associate_rq(receiver.ae_title, proposed)
    for _ in range(WARMING):
        wire.echo_once(receiver.dimse_port, request)
    latencies = []
    started = time.perf_counter()
    for _ in range(count):
        began = time.perf_counter()
        wire.echo_once(receiver.dimse_port, request)
        latencies.append(time.perf_counter() - began)
    return Load(time.perf_counter() - started, count, len(request) * count, sorted(latencies))
