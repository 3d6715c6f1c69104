"""Rules of what becomes of stored instances: which go on to whom, and who hears of a study (PS3.4 R).

The archive's record ids only grow, so how far the rules have been applied is one number; it advances in the
transaction that writes the jobs. What a crash leaves between storing and routing is therefore routed
afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from dicomwire.work import jobs
from dicomwire.work.store import Transaction

FORWARD: Final = "forward"
"""Kind of the jobs that send an instance on."""
AVAILABLE: Final = "availability"
"""Kind of the jobs that tell of a study that is complete."""

ROUNDS: Final = 3
"""How often an instance is sent and a commitment to it asked for before that has failed."""

PROGRESS: Final = "routes"  # the name of our row in `progress`


@dataclass(frozen=True, slots=True)
class Route:
    """Instances that go on to a peer.

    Attributes:
        destination: AE title of the peer.
        calling, called: AE titles under which they came in, any without.
        sop_classes: UIDs, any without.
        when: patterns with * and ? for attributes of the index by keyword; one value of an attribute must
            match.
    """

    destination: str
    calling: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    sop_classes: tuple[str, ...] = ()
    when: Mapping[str, str] = field(default_factory=dict)
    commit: bool = False


@dataclass(frozen=True, slots=True)
class Notices:
    """Who hears of studies that are complete: no instance for `quiet` seconds."""

    notify: tuple[str, ...] = ()
    quiet: float = 60.0


@dataclass(frozen=True, slots=True)
class Stored:
    """What rules look at.

    Attributes:
        values: of an attribute by its keyword; asked only where a rule wants it.
    """

    record_id: int
    sop_class_uid: str
    study_instance_uid: str
    calling_ae_title: str
    called_ae_title: str
    values: Callable[[str], Sequence[str]] = field(repr=False, default=lambda keyword: ())


def applies(route: Route, stored: Stored) -> bool:
    """Whether an instance takes a route; never back to where it came from."""
    if stored.calling_ae_title == route.destination:
        return False
    for wanted, found in (
        (route.calling, stored.calling_ae_title),
        (route.called, stored.called_ae_title),
        (route.sop_classes, stored.sop_class_uid),
    ):
        if wanted and found not in wanted:
            return False
    return all(
        any(fnmatchcase(value, pattern) for value in stored.values(keyword) or ("",))
        for keyword, pattern in route.when.items()
    )


def destinations_of(routes: Sequence[Route], stored: Stored) -> dict[str, bool]:
    """Where an instance goes, each destination once, and whether a commitment to it is wanted there."""
    found: dict[str, bool] = {}
    for route in routes:
        if applies(route, stored):
            found[route.destination] = found.get(route.destination, False) or route.commit
    return found


def position(transaction: Transaction) -> int | None:
    """The record id up to which the rules have been applied; None before they ever were."""
    row = transaction.row("SELECT position FROM progress WHERE name = ?", (PROGRESS,))
    return int(str(row[0])) if row is not None else None


def advance(
    transaction: Transaction,
    reached: int,
    decided: Sequence[tuple[Stored, Mapping[str, bool]]],
    notices: Notices,
    *,
    now: float,
) -> None:
    """Write the jobs of instances, and that the rules have been applied up to a record id."""
    for stored, destinations in decided:
        for destination, commit in destinations.items():
            send(transaction, stored.record_id, destination, now=now, rounds=ROUNDS if commit else 0)
    for study in dict.fromkeys(stored.study_instance_uid for stored, _ in decided):
        for destination in notices.notify:
            name = f"{AVAILABLE} {study} {destination}"
            payload = json.dumps({"study": study})
            due = now + notices.quiet
            jobs.add(transaction, AVAILABLE, destination, payload, now=now, due=due, name=name)
    transaction.rows("INSERT OR REPLACE INTO progress VALUES (?, ?)", (PROGRESS, reached))


def send(
    transaction: Transaction,
    record_id: int,
    destination: str,
    *,
    now: float,
    due: float | None = None,
    rounds: int = 0,
) -> None:
    """Write the job that sends an instance on.

    rounds: how often a commitment to it may be asked for, and it be sent again where that fails; 0 for never.
    """
    payload = json.dumps({"record": record_id, "rounds": rounds})
    name = f"{FORWARD} {record_id} {destination}"
    jobs.add(transaction, FORWARD, destination, payload, now=now, due=due, name=name)


def forget(transaction: Transaction) -> None:
    """There are no rules: those that come later begin with what is stored then."""
    transaction.rows("DELETE FROM progress WHERE name = ?", (PROGRESS,))
