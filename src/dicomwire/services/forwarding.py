"""Stored instances on their way to other peers: routed as they come, sent by jobs (PS3.4 B, SCU).

The router looks at what the archive has stored since it last looked, whichever door it came through, and
writes a job for each destination of each instance. Jobs of one destination are sent over one association,
some hundred instances at a time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from time import time
from typing import Final

import structlog

from dicomwire.archive.archive import Archive
from dicomwire.archive.transcoder import Transcoder
from dicomwire.archive.values import Stored as StoredRecord
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.scan import scan
from dicomwire.errors import ArchiveError, DataSetError, WorkError
from dicomwire.services.instances import Instance, from_archive
from dicomwire.services.move import Destinations
from dicomwire.services.procedure_step import new_uid
from dicomwire.services.sending import Delivery, Outcome, deliver
from dicomwire.services.telling import PASSING, destination
from dicomwire.work import jobs, routes
from dicomwire.work.commitment import ASK, Sent
from dicomwire.work.jobs import Done, Failed, Job, Kind, Result
from dicomwire.work.routes import FORWARD, Notices, Route, Stored
from dicomwire.work.store import DatabaseError, Store

_PAGE: Final = 200  # instances of one look
_BATCH: Final = 200  # instances of one association
_AGAIN: Final = 5.0  # seconds until the next try when the store or the archive cannot be read

log = structlog.get_logger()


class Router:
    """Applies the rules to what is stored, for as long as it runs."""

    def __init__(self, store: Store, archive: Archive, rules: Sequence[Route], notices: Notices) -> None:
        self._store = store
        self._archive = archive
        self._rules = rules
        self._notices = notices
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go on where the process before stopped; without rules, forget where that was."""
        if not (self._rules or self._notices.notify):
            await self._store.change(routes.forget)
            return
        newest = self._archive.catalogue.newest()
        reached = await self._store.change(routes.position)
        if reached is None:
            reached = newest
            await self._store.change(
                lambda change: routes.advance(change, newest, (), self._notices, now=time())
            )
        self._archive.listen(self._wake.set)
        self._task = asyncio.get_running_loop().create_task(self._run(reached))

    async def stop(self) -> None:
        """Stop; what was not looked at is at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, reached: int) -> None:
        while True:
            self._wake.clear()
            try:
                reached = await self._look(reached)
            except (ArchiveError, DatabaseError, OSError, WorkError) as error:
                log.error("instances cannot be routed yet", reason=str(error))
                await asyncio.sleep(_AGAIN)
                continue
            await self._wake.wait()

    async def _look(self, reached: int) -> int:
        """Route all that came behind a record id; the last one's."""
        while page := await asyncio.to_thread(self._page, reached):
            last = page[-1][0].record_id
            await self._store.change(
                lambda change, page=page, last=last: routes.advance(  # type: ignore[misc]
                    change, last, page, self._notices, now=time()
                )
            )
            reached = last
        return reached

    def _page(self, after: int) -> list[tuple[Stored, Mapping[str, bool]]]:
        """The next instances and where they go; blocking."""
        page: list[tuple[Stored, Mapping[str, bool]]] = []
        for record in self._archive.catalogue.page(after, _PAGE):
            stored = self._seen(record)
            page.append((stored, routes.destinations_of(self._rules, stored)))
        return page

    def _seen(self, record: StoredRecord) -> Stored:
        """An instance as the rules see it."""
        try:
            origin = self._archive.origin(record)
        except ArchiveError as error:
            log.warning("origin of an instance is lost", record=record.record_id, reason=str(error))
            origin = None
        found: dict[str, Sequence[str]] = {}

        def values(keyword: str) -> Sequence[str]:
            if not found:
                found.update(self._attributes(record))
            return found.get(keyword, ())

        return Stored(
            record.record_id,
            record.sop_class_uid,
            record.study_instance_uid,
            origin.calling_ae_title if origin is not None else "",
            origin.called_ae_title if origin is not None else "",
            values,
        )

    def _attributes(self, record: StoredRecord) -> Mapping[str, Sequence[str]]:
        """The attributes that rules ask for, of one instance."""
        wanted = {keyword for rule in self._rules for keyword in rule.when}
        try:
            with self._archive.open_stored(record) as opened:
                scanned = scan(opened.view[record.data_set_offset :], record.transfer_syntax_uid)
        except (ArchiveError, DataSetError, OSError) as error:
            log.warning("instance cannot be read for its route", record=record.record_id, reason=str(error))
            return {"": ()}
        return {"": ()} | {keyword: scanned.texts(TAGS[keyword]) for keyword in wanted}


def kinds(archive: Archive, transcoder: Transcoder | None, destinations: Destinations) -> Mapping[str, Kind]:
    """The jobs that send instances on."""

    async def run(batch: Sequence[Job]) -> Mapping[int, Result]:
        return await forward(archive, transcoder, destinations, batch)

    return {FORWARD: Kind(run, _BATCH)}


async def forward(
    archive: Archive, transcoder: Transcoder | None, destinations: Destinations, batch: Sequence[Job]
) -> Mapping[int, Result]:
    """Send the instances of jobs, and say of each job how it went."""
    target = destination(destinations, batch[0].destination)
    if isinstance(target, Failed):
        return dict.fromkeys((job.id for job in batch), target)
    results: dict[int, Result] = {}
    sent: dict[int, Sent] = {}  # to which a commitment is wanted
    jobs_of: dict[str, list[Job]] = {}
    instances: list[Instance] = []
    for job in batch:
        wanted = json.loads(job.payload)
        stored = archive.catalogue.stored(int(wanted["record"]))
        if stored is None or not _is_current(archive, stored):
            results[job.id] = Done()  # removed or replaced since, or a conflict version
            continue
        same = jobs_of.setdefault(stored.sop_instance_uid, [])
        if not same:
            instances.append(from_archive(archive, stored, transcoder))
        same.append(job)
        if rounds := int(wanted["rounds"]):
            sent[job.id] = Sent(stored.sop_class_uid, stored.sop_instance_uid, stored.record_id, rounds)
    answered = False

    def report(delivery: Delivery) -> None:
        nonlocal answered
        answered = answered or delivery.status is not None
        for job in jobs_of[delivery.instance.sop_instance_uid]:
            results[job.id] = judged(delivery)

    await deliver(instances, target.open, report, syntaxes=target.transfer_syntaxes)
    taken = [job for job in batch if job.id in sent and isinstance(results[job.id], Done)]
    if taken:
        results[taken[-1].id] = _and_ask(taken[-1].destination, [sent[job.id] for job in taken])
    if instances and not answered and all(isinstance(each, Failed) for each in results.values()):
        return {job_id: _unreachable(result) for job_id, result in results.items()}
    return results


def _and_ask(destination: str, sent: Sequence[Sent]) -> Done:
    """Done, and with it the job that asks the peer to commit itself to what it has taken."""
    payload = json.dumps({"transaction": new_uid(), "sent": sent})
    return Done(lambda change: jobs.add(change, ASK, destination, payload, now=time()))


def _is_current(archive: Archive, stored: StoredRecord) -> bool:
    current = archive.plan(instance=stored.sop_instance_uid)
    return any(one.record_id == stored.record_id for one in current)


def judged(delivery: Delivery) -> Result:
    """What a delivery means for its job."""
    if delivery.outcome in (Outcome.STORED, Outcome.WARNING):
        return Done()
    code = delivery.status
    final = code is not None and not (0xA700 <= code <= 0xA7FF or code in PASSING)
    return Failed(delivery.reason, final=final)


def _unreachable(result: Result) -> Result:
    return Failed(result.reason, result.final, unreachable=True) if isinstance(result, Failed) else result
