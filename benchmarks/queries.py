"""Searches measured: C-FIND and QIDO-RS beside other archives, and in up to a million studies.

Each search is done many times over one association, or with one connection a request for HTTP, by a client
that shares no code with the node; the time is from the request's first byte to the last answer. A search
counts only if it finds what it has to.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import pack

from benchmarks import catalogue, data, load, processes, wire
from benchmarks.receivers import RECEIVERS, Receiver

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SEARCHES = 60  # of each kind; their median counts
WARM = 5  # that do not count
PER_STUDY = 1  # instances of a study in the archives that peers hold, too
LIMIT_MS = 3.0  # to the last of ten answers, on a million studies
SERIES_OF = 100  # instances of the series that is searched by QIDO-RS


class SearchError(Exception):
    """A search found something else than it had to."""


@dataclass(frozen=True, slots=True)
class Search:
    """One kind of search: the keys of a C-FIND at study level, or the path of a QIDO-RS, and its matches."""

    name: str
    title: str
    matches: int
    keys: Mapping[tuple[int, int, str], str] = field(default_factory=dict)
    path: str = ""


def of(study: int) -> dict[str, Search]:
    """The searches around one study."""
    day, family = catalogue.date(study), catalogue.name(study).partition("^")[0]
    uid, patient = catalogue.study_uid(study), catalogue.patient_id(study)
    found = (
        Search("id", "C-FIND by PatientID", 10, {(0x0010, 0x0020, "LO"): patient}),
        Search("date", "C-FIND by date range", 10, {(0x0008, 0x0020, "DA"): f"{day}-{day}"}),
        Search("name", "C-FIND by name prefix", 10, {(0x0010, 0x0010, "PN"): f"{family}*"}),
        Search("qido-id", "QIDO-RS studies by PatientID", 10, path=f"/studies?PatientID={patient}"),
        Search(
            "qido-series",
            f"QIDO-RS instances of a series of {SERIES_OF}",
            SERIES_OF,
            path=f"/studies/{uid}/series/{uid}.1/instances",
        ),
    )
    return {search.name: search for search in found}


@dataclass(frozen=True, slots=True)
class Setting:
    """An archive to search in: how it is filled, who has one, and what to reach against whom."""

    name: str
    title: str
    searches: tuple[str, ...]
    receivers: tuple[str, ...]
    studies: int
    per_study: int = 0  # instances of a study that are stored over DIMSE; 0 takes a ready-made catalogue
    targets: Mapping[str, float] = field(default_factory=dict)


FINDS = ("id", "date", "name")
SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "2500",
            "2,500 instances, a study each",
            FINDS,
            ("dicomwire", "orthanc"),
            2_500,
            PER_STUDY,
            {"orthanc": 2.0},
        ),
        Setting(  # dcmqrscp holds 500 studies at most
            "250",
            "2,500 instances of 250 studies",
            FINDS,
            ("dicomwire", "orthanc", "dcmqrscp"),
            250,
            10,
            {"orthanc": 2.0},
        ),
        Setting(
            "22500",
            "22,500 instances, a study each",
            FINDS,
            ("dicomwire", "orthanc"),
            22_500,
            PER_STUDY,
            {"orthanc": 25.0},
        ),
        Setting(
            "series",
            "2,500 instances, one series of 100",
            ("qido-series",),
            ("dicomwire", "orthanc"),
            25,
            SERIES_OF,
            {"orthanc": 20.0},
        ),
        Setting(
            "20000",
            "20,000 studies",
            ("qido-id",),
            ("dicomwire", "orthanc"),
            20_000,
            1,
            {"orthanc": 20.0},
        ),
        Setting("10k", "10,000 studies", (*FINDS, "qido-id"), ("dicomwire",), 10_000),
        Setting("1m", "1,000,000 studies", (*FINDS, "qido-id"), ("dicomwire",), 1_000_000),
    )
}


@dataclass(frozen=True, slots=True)
class Searched:
    """The searches of one kind in one archive: times in milliseconds."""

    setting: str
    search: str
    receiver: str
    median_ms: float
    slowest_ms: float  # 95 of 100 were faster
    cpu_ms: float  # of the receiver, each
    peak_bytes: int


def measure(
    names: Sequence[str], receivers: Sequence[str], folder: Path, tell: Callable[[str], None]
) -> list[Searched]:
    """Every search of every setting, receiver by receiver."""
    found: list[Searched] = []
    for setting in SETTINGS.values():
        if setting.name not in names:
            continue
        for name in setting.receivers:
            if name in receivers and not RECEIVERS[name].missing():
                for searched in _in_setting(setting, name, folder):
                    tell(
                        f"{setting.name} {searched.search}: {name} {searched.median_ms:.2f} ms,"
                        f" {searched.cpu_ms:.2f} ms CPU"
                    )
                    found.append(searched)
    return found


def _in_setting(setting: Setting, name: str, folder: Path) -> Iterator[Searched]:
    work = folder / f"queries-{setting.name}-{name}"
    shutil.rmtree(work, ignore_errors=True)
    # Orthanc lets only those search whom it could send to
    known = {wire.CALLING_AE_TITLE: 104} if name == "orthanc" else {}
    receiver = RECEIVERS[name](work, destinations=known)
    if not setting.per_study:
        made = catalogue.folder(setting.studies, folder / "data")
        work.mkdir(parents=True)
        (work / "data").symlink_to(made)
    receiver.start()
    try:
        if setting.per_study:
            fill(receiver, setting)
        for search in setting.searches:
            yield _searched(receiver, setting, search, name)
    finally:
        receiver.stop()
        shutil.rmtree(work, ignore_errors=True)


def fill(receiver: Receiver, setting: Setting) -> None:
    """Store over DIMSE what an archive of a setting holds."""
    instances = [
        _instance(study, number)
        for study in range(setting.studies)
        for number in range(1, setting.per_study + 1)
    ]
    # dcmqrscp's processes refuse some instances when they write its index at the same time
    associations = 1 if receiver.name == "dcmqrscp" else 4
    with load.send_raw(receiver.dimse_port, receiver.ae_title, instances, associations):
        pass


def _searched(receiver: Receiver, setting: Setting, name: str, who: str) -> Searched:
    step = max(1, setting.studies // (SEARCHES + WARM + 1))
    searches = [of(study)[name] for study in range(0, setting.studies, step)][1 : SEARCHES + WARM + 1]
    once = _finder(receiver) if searches[0].keys else _asker(receiver)
    for search in searches[:WARM]:
        once(search)
    processes.forget_peak(receiver.pid)
    before = processes.usage(receiver.pid)
    times = sorted(once(search) * 1000 for search in searches[WARM:])
    after = processes.usage(receiver.pid)
    return Searched(
        setting.name,
        name,
        who,
        statistics.median(times),
        times[len(times) * 95 // 100],
        (after.cpu_seconds - before.cpu_seconds) * 1000 / len(times),
        after.peak_bytes,
    )


def _finder(receiver: Receiver) -> Callable[[Search], float]:
    association = wire.associate(
        receiver.dimse_port, called_ae_title=receiver.ae_title, abstract_syntax=STUDY_ROOT_FIND
    )

    def once(search: Search) -> float:
        wanted = dict.fromkeys(_RETURNED, "") | {(0x0008, 0x0052, "CS"): "STUDY"} | dict(search.keys)
        identifier = b"".join(_element(*key, value) for key, value in sorted(wanted.items()))
        began = time.perf_counter()
        status, matches = association.find(STUDY_ROOT_FIND, identifier)
        seconds = time.perf_counter() - began
        if status or matches != search.matches:
            raise SearchError(f"{search.title}: {matches} matches, status {status:04X}H")
        return seconds

    return once


def _asker(receiver: Receiver) -> Callable[[Search], float]:
    def once(search: Search) -> float:
        asked = urllib.request.Request(
            receiver.url(search.path), headers={"Accept": "application/dicom+json"}
        )
        began = time.perf_counter()
        with urllib.request.urlopen(asked, timeout=60.0) as answer:
            body = answer.read()
        seconds = time.perf_counter() - began
        found = len(json.loads(body))
        if found != search.matches:
            raise SearchError(f"{search.title}: {found} matches")
        return seconds

    return once


_RETURNED = (
    *((0x0008, 0x0020, "DA"), (0x0008, 0x0030, "TM"), (0x0008, 0x0050, "SH"), (0x0008, 0x1030, "LO")),
    *((0x0010, 0x0010, "PN"), (0x0010, 0x0020, "LO"), (0x0010, 0x0030, "DA"), (0x0010, 0x0040, "CS")),
    *((0x0020, 0x000D, "UI"), (0x0020, 0x0010, "SH")),
)


def _element(group: int, element: int, vr: str, value: str) -> bytes:
    encoded = value.encode()
    encoded += (b"\0" if vr == "UI" else b" ") * (len(encoded) % 2)
    return pack("<HH2sH", group, element, vr.encode(), len(encoded)) + encoded


def _instance(study: int, number: int) -> data.Instance:
    """A CT without pixels: what an archive indexes and no more."""
    uid = catalogue.study_uid(study)
    sop_class, sop_instance = "1.2.840.10008.5.1.4.1.1.2", f"{uid}.1.{number}"
    elements = {
        (0x0008, 0x0005, "CS"): "ISO_IR 100",
        (0x0008, 0x0016, "UI"): sop_class,
        (0x0008, 0x0018, "UI"): sop_instance,
        (0x0008, 0x0020, "DA"): catalogue.date(study),
        (0x0008, 0x0030, "TM"): "101530",
        (0x0008, 0x0050, "SH"): f"A{study:08d}",
        (0x0008, 0x0060, "CS"): "CT",
        (0x0008, 0x1030, "LO"): f"Examination {study % 97}",
        (0x0010, 0x0010, "PN"): catalogue.name(study),
        (0x0010, 0x0020, "LO"): catalogue.patient_id(study),
        (0x0010, 0x0030, "DA"): "19600401",
        (0x0010, 0x0040, "CS"): "F",
        (0x0020, 0x000D, "UI"): uid,
        (0x0020, 0x000E, "UI"): f"{uid}.1",
        (0x0020, 0x0010, "SH"): str(study),
        (0x0020, 0x0011, "IS"): "1",
        (0x0020, 0x0013, "IS"): str(number),
    }
    header = b"".join(_element(*key, value) for key, value in elements.items())
    return data.Instance(sop_class, sop_instance, uid, f"{uid}.1", b"", header, b"", len(header))


def markdown(found: Sequence[Searched]) -> str:
    """The measured searches as a table, with the goals before it."""
    titles = {setting.name: setting.title for setting in SETTINGS.values()}
    words = {name: search.title for name, search in of(0).items()}
    lines = ["| goal | to reach | reached | |", "|---|--:|--:|---|", *_goals(found), ""]
    lines += [
        "| search | archive | receiver | median | 95 % | CPU each | peak MB |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {words[each.search]} | {titles[each.setting]} | {each.receiver} | {each.median_ms:.2f} ms"
        f" | {each.slowest_ms:.2f} ms | {each.cpu_ms:.2f} ms | {each.peak_bytes / 1e6:,.0f} |"
        for each in found
    ]
    return "\n".join(lines) + "\n"


def _goals(found: Sequence[Searched]) -> Iterator[str]:
    times = {(each.setting, each.search, each.receiver): each.median_ms for each in found}
    words = {name: search.title for name, search in of(0).items()}
    for setting in SETTINGS.values():
        for search in setting.searches:
            ours = times.get((setting.name, search, "dicomwire"))
            for receiver, target in setting.targets.items():
                theirs = times.get((setting.name, search, receiver))
                if ours and theirs:
                    ratio = theirs / ours
                    yield (
                        f"| {words[search]}, {setting.title}, against {receiver} | {target:g}x"
                        f" | {ratio:.1f}x | {'yes' if ratio >= target else '**no**'} |"
                    )
    for search in (*FINDS, "qido-id"):
        small, large = (times.get((setting, search, "dicomwire")) for setting in ("10k", "1m"))
        if small and large:
            yield (
                f"| {words[search]}, 1,000,000 studies | below {LIMIT_MS:g} ms | {large:.2f} ms"
                f" | {'yes' if large < LIMIT_MS else '**no**'} |"
            )
            yield (
                f"| {words[search]}, 1,000,000 studies against 10,000 | within 2x | {large / small:.2f}x"
                f" | {'yes' if large < 2 * small else '**no**'} |"
            )
