"""The store of work under load: workitems changed a second, worklist queries on many items.

python -m benchmarks.work [--items 100000] [--changes 4000]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter, time

from dicomwire.archive.query import Match
from dicomwire.dicom.data_set import DataSet
from dicomwire.work import ups, worklist
from dicomwire.work.matching import path_of, query_of, search
from dicomwire.work.store import Store, Transaction, open_store

AT_ONCE = 64  # peers that change workitems
ROUNDS = 20  # of each query
STEP = worklist.STEP
QUERIES = {
    "date, modality, station": (
        ((STEP, "ScheduledProcedureStepStartDate"), "20260505"),
        ((STEP, "Modality"), "CT"),
        ((STEP, "ScheduledStationAETitle"), "ST4"),
    ),
    "date": (((STEP, "ScheduledProcedureStepStartDate"), "20260505"),),
    "patient ID": ((("PatientID",), "P500"),),
    "accession number": ((("AccessionNumber",), "A500"),),
    "patient's name": ((("PatientName",), "doe500^*"),),
    "modality": (((STEP, "Modality"), "CT"),),
    "nothing": (),
}
PAGE = 100  # matches that are answered first


def workitem(number: int) -> DataSet:
    """A workitem that is complete."""
    return (
        DataSet()
        .put("ScheduledProcedureStepPriority", "MEDIUM")
        .put("ProcedureStepLabel", "Contour")
        .put("ScheduledProcedureStepStartDateTime", "20260101100000")
        .put("InputReadinessState", "READY")
        .put("ProcedureStepState", "SCHEDULED")
        .put("PatientName", f"Doe^{number}")
        .put("PatientID", f"P{number}")
    )


def item(number: int) -> DataSet:
    """A worklist item of one of 50 stations on one of 336 days."""
    step = (
        DataSet()
        .put("ScheduledStationAETitle", f"ST{number % 50}")
        .put("ScheduledProcedureStepStartDate", f"2026{1 + number % 12:02}{1 + number // 12 % 28:02}")
        .put("ScheduledProcedureStepStartTime", f"{number % 24:02}{number % 60:02}")
        .put("Modality", ("CT", "MR", "US", "CR")[number % 4])
        .put("ScheduledProcedureStepID", f"S{number}")
    )
    return (
        DataSet()
        .put(STEP, step)
        .put("RequestedProcedureID", f"R{number}")
        .put("StudyInstanceUID", f"1.2.{number}")
        .put("PatientName", f"Doe{number % 1000}^Jane")
        .put("PatientID", f"P{number}")
        .put("AccessionNumber", f"A{number}")
    )


async def changes(store: Store, count: int) -> float:
    """Workitems created and taken a second, each change durable before its peer goes on."""
    numbers = iter(range(count // 2))

    async def work() -> None:
        for number in numbers:
            uid, attributes = f"1.2.3.{number}", workitem(number)
            create = partial(ups.create, sop_instance_uid=uid, attributes=attributes, now=time())
            await store.change(create)
            take = partial(
                ups.change_state,
                sop_instance_uid=uid,
                wanted="IN PROGRESS",
                transaction_uid="1.2.9",
                now=time(),
            )
            await store.change(take)

    began = perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return count / (perf_counter() - began)


def fill(store: Store, count: int) -> None:
    """Write worklist items."""
    for first in range(0, count, 1000):
        some = range(first, min(first + 1000, count))

        def write(change: Transaction, numbers: range = some) -> None:
            for number in numbers:
                worklist.add(change, item(number), source="web", now=0.0)

        store.apply(write)


def query(
    store: Store, keys: tuple[tuple[tuple[str, ...], str], ...], limit: int | None = None
) -> tuple[int, float]:
    """How many items keys find, and the median of the milliseconds that takes."""
    asked = query_of([Match(path_of(*path), value) for path, value in keys], limit=limit)
    spans, found = [], 0
    for _ in range(ROUNDS):
        began = perf_counter()
        found = len(search(store, worklist.selection(asked, hidden=("COMPLETED",)), asked))
        spans.append((perf_counter() - began) * 1e3)
    return found, statistics.median(spans)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=4_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        print(f"workitems: {asyncio.run(changes(store, asked.changes)):.0f} durable changes/s")
        store.close()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        fill(store, asked.items)
        for name, keys in QUERIES.items():
            _, first = query(store, keys, PAGE)
            found, whole = query(store, keys)
            print(
                f"worklist of {asked.items} items by {name}: {found} found in {whole:.2f} ms,"
                f" the first {PAGE} in {first:.2f} ms"
            )
        store.close()


if __name__ == "__main__":
    main()
