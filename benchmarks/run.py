"""Runs: each row against each of its receivers in turn, round by round, on fresh folders."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import data, establishing, load, processes, retrieval, webload
from benchmarks.load import Load, LoadError
from benchmarks.receivers import RECEIVERS, Receiver, ReceiverError, Sink
from benchmarks.rows import Client, Row

RETRIEVALS = 3  # of the same study in one run, at least; their median counts
MOST_RETRIEVALS = 15
LONG_ENOUGH = 3.0  # seconds of retrieving over DIMSE after which no further ones are needed
WARMING = 20  # images fetched before the clock starts
FETCHED = {  # what is accepted, the resource of an instance, how often each is fetched
    Client.FRAMES: ('multipart/related; type="application/octet-stream"', "/frames/1", 4),
    Client.RENDERED: ("image/jpeg", "/rendered", 1),
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One load on one receiver: rates as the client saw them, cost as /proc shows it."""

    row: str
    receiver: str
    round: int
    seconds: float
    instances: int
    bytes: int
    cpu_seconds: float  # of the receiver's processes during the load
    peak_bytes: int  # of the receiver's resident memory during the load
    ready_seconds: float  # from its start to its first answers
    median_ms: float | None  # to the answer to one instance
    slowest_ms: float | None  # 99 of 100 instances were answered faster

    def rate(self, *, by_bytes: bool) -> float:
        """Instances, or bytes, a second."""
        return (self.bytes if by_bytes else self.instances) / self.seconds


@dataclass(frozen=True, slots=True)
class Report:
    """All measurements of one invocation and what they were taken on."""

    machine: dict[str, str]
    versions: dict[str, str]
    measurements: list[Measurement]
    failures: list[str]  # a load that was not answered with success throughout counts for nothing

    def as_json(self) -> dict[str, object]:
        """The report as JSON's types."""
        return asdict(self)


def measure(
    rows: Sequence[Row],
    *,
    receivers: Sequence[str],
    rounds: int,
    folder: Path,
    tell: Callable[[str], None],
) -> Report:
    """Every row `rounds` times against each receiver in turn (A B C A B C), but for what is not installed."""
    missing = {name: RECEIVERS[name].missing() for name in receivers}
    for name, what in missing.items():
        if what:
            tell(f"skipped {name}: missing {what}")
    present = [name for name in receivers if not missing[name]]
    measurements: list[Measurement] = []
    failures: list[str] = []
    for row in rows:
        for turn in range(rounds):
            for name in (each for each in row.receivers if each in present):
                try:
                    measured = _measure_one(row, name, turn, folder)
                except (LoadError, ReceiverError, OSError) as error:
                    failures.append(f"{row.name} round {turn + 1}: {name} failed: {error}")
                    tell(failures[-1])
                    continue
                rate = measured.rate(by_bytes=row.by_bytes)
                words = f"{rate / 1e6:,.0f} MB/s" if row.by_bytes else f"{rate:,.0f}/s"
                cost = f"{measured.cpu_seconds:.2f} s CPU, {measured.peak_bytes / 1e6:.0f} MB"
                tell(f"{row.name} round {turn + 1}: {name} {words}, {cost}")
                measurements.append(measured)
    versions = {name: RECEIVERS[name].version() for name in present}
    return Report(_machine(folder), versions, measurements, failures)


def _measure_one(row: Row, name: str, turn: int, folder: Path) -> Measurement:
    work = folder / f"run-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        sink = Sink(work / "sink")
        if row.client is Client.MOVE:
            stack.callback(sink.stop)
            sink.start()
        receiver = RECEIVERS[name](
            work / name,
            nodelay=row.client is not Client.DEFAULT_STORESCU,
            destinations={sink.ae_title: sink.dimse_port} if row.retrieval else {},
        )
        stack.callback(receiver.stop)
        receiver.start()
        return _loaded(row, receiver, turn, name, folder)


def _loaded(row: Row, receiver: Receiver, turn: int, name: str, folder: Path) -> Measurement:
    if row.client is Client.ECHO:
        return _established(row, receiver, turn, name)
    count = row.count
    if row.stalled_count and name != "dicomwire":
        count = row.stalled_count
    if row.data_set == "huge":
        instances = [data.make("huge", 0)]
    else:
        instances = data.load(row.data_set, folder / "data", count)
    if row.client in (Client.WADO, Client.FRAMES, Client.RENDERED) or row.retrieval:
        with load.send_raw(receiver.dimse_port, receiver.ae_title, instances, associations=1):
            pass
        if row.retrieval:
            return _transferred(row, receiver, turn, name, instances)
        if row.client is not Client.WADO:
            return _fetched(row, receiver, turn, name, instances)
        return _retrieved(row, receiver, turn, name, instances)
    os.sync()
    peaks: list[int] = []

    def watch() -> None:
        peaks.append(processes.usage(receiver.pid).peak_bytes)

    before = processes.usage(receiver.pid)
    processes.forget_peak(receiver.pid)
    with _sent(row, receiver, instances, folder, watch) as done:
        after = processes.usage(receiver.pid)
    held = receiver.count()
    if held != len(instances):
        raise LoadError(f"{name} answered {len(instances)} instances with success and holds {held}")
    after = processes.Usage(after.cpu_seconds, max([after.peak_bytes, *peaks]))
    return _measurement(row, receiver, turn, name, done, before, after)


@contextmanager
def _sent(
    row: Row,
    receiver: Receiver,
    instances: list[data.Instance],
    folder: Path,
    watch: Callable[[], None],
) -> Iterator[Load]:
    if row.client is Client.STOW:
        yield webload.store(receiver.url("/studies"), instances)
    elif row.client is Client.RAW:
        with load.send_raw(receiver.dimse_port, receiver.ae_title, instances, row.associations) as done:
            yield done
    else:
        made = data.folder(row.data_set, folder / "data")
        with load.send_storescu(
            receiver.dimse_port,
            receiver.ae_title,
            sorted(made.glob("*.dcm"))[: len(instances)],
            row.associations,
            nodelay=row.client is Client.STORESCU,
            watch=watch,
        ) as done:
            yield done


def _established(row: Row, receiver: Receiver, turn: int, name: str) -> Measurement:
    establishing.establish(receiver, 1, row.contexts)
    before = processes.usage(receiver.pid)
    processes.forget_peak(receiver.pid)
    done = establishing.establish(receiver, row.count or 1, row.contexts)
    return _measurement(row, receiver, turn, name, done, before, processes.usage(receiver.pid))


def _retrieved(
    row: Row, receiver: Receiver, turn: int, name: str, instances: list[data.Instance]
) -> Measurement:
    url = receiver.url(f"/studies/{instances[0].study_instance_uid}")
    found = webload.retrieved(url, instances)
    if found != len(instances):
        raise LoadError(f"{name} gave back {found} of {len(instances)} instances bit for bit")
    os.sync()
    before = processes.usage(receiver.pid)
    processes.forget_peak(receiver.pid)
    loads = [webload.retrieve(url) for _ in range(RETRIEVALS)]
    after = processes.usage(receiver.pid)
    median = Load(statistics.median(each.seconds for each in loads), len(instances), loads[0].bytes)
    spent = (after.cpu_seconds - before.cpu_seconds) / RETRIEVALS
    after = processes.Usage(before.cpu_seconds + spent, after.peak_bytes)
    return _measurement(row, receiver, turn, name, median, before, after)


def _fetched(
    row: Row, receiver: Receiver, turn: int, name: str, instances: list[data.Instance]
) -> Measurement:
    """Each image as often as it says, after a few others that start what has to be started."""
    accept, suffix, times = FETCHED[row.client]
    urls = [
        receiver.url(
            f"/studies/{each.study_instance_uid}/series/{each.series_instance_uid}"
            f"/instances/{each.sop_instance_uid}{suffix}"
        )
        for each in instances
    ]
    webload.fetch(urls[:WARMING], accept, row.associations)
    os.sync()
    before = processes.usage(receiver.pid)
    processes.forget_peak(receiver.pid)
    done = webload.fetch(urls[WARMING:] * times, accept, row.associations)
    return _measurement(row, receiver, turn, name, done, before, processes.usage(receiver.pid))


def _transferred(
    row: Row, receiver: Receiver, turn: int, name: str, instances: list[data.Instance]
) -> Measurement:
    transfer = retrieval.get if row.client is Client.GET else retrieval.move
    os.sync()
    before = processes.usage(receiver.pid)
    processes.forget_peak(receiver.pid)
    with ExitStack() as stack:
        loads: list[Load] = []
        while len(loads) < RETRIEVALS or (len(loads) < MOST_RETRIEVALS and _seconds(loads) < LONG_ENOUGH):
            loads.append(stack.enter_context(transfer(receiver, instances)))
        after = processes.usage(receiver.pid)  # while forked children live
    median = Load(statistics.median(each.seconds for each in loads), len(instances), loads[0].bytes)
    spent = (after.cpu_seconds - before.cpu_seconds) / len(loads)
    after = processes.Usage(before.cpu_seconds + spent, after.peak_bytes)
    return _measurement(row, receiver, turn, name, median, before, after)


def _seconds(loads: Sequence[Load]) -> float:
    return sum(each.seconds for each in loads)


def _measurement(
    row: Row,
    receiver: Receiver,
    turn: int,
    name: str,
    done: Load,
    before: processes.Usage,
    after: processes.Usage,
) -> Measurement:
    latencies = done.latencies
    return Measurement(
        row=row.name,
        receiver=name,
        round=turn,
        seconds=done.seconds,
        instances=done.instances,
        bytes=done.bytes,
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        peak_bytes=after.peak_bytes,
        ready_seconds=receiver.ready_seconds,
        median_ms=latencies[len(latencies) // 2] * 1000 if latencies else None,
        slowest_ms=latencies[len(latencies) * 99 // 100] * 1000 if latencies else None,
    )


def _machine(folder: Path) -> dict[str, str]:
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    filesystem = subprocess.run(
        ["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": f"{os.cpu_count()} x {cpu}",
        "memory": f"{int(memory) / 1e6:.0f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem": filesystem,
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[2]:.1f}",  # of the last 15 minutes: a busy machine blurs the figures
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
