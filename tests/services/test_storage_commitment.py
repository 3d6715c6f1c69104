"""Storage Commitment over the wire: promises, reasons, where reports go, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from dicomwire.archive.archive import Archive, ArchiveOptions
from dicomwire.association.performer import Services
from dicomwire.dicom.data_set import DataSet, tag_of
from dicomwire.dimse.command import NActionRq, NEventReportRq
from dicomwire.services import storage_commitment
from dicomwire.services.move import Destinations
from dicomwire.services.normalized import Answer, Operation, Reply, invoke, service
from dicomwire.services.storage_commitment import INSTANCE, STORAGE_COMMITMENT, Committer, receiving
from dicomwire.work import commitment
from dicomwire.work.commitment import Asked, FailureReason, Reference, Result, Sent
from dicomwire.work.jobs import State
from dicomwire.work.store import Store
from tests.archive.test_archive import CT, data_set, offer
from tests.services.department import SOON, Department, department, destination, listening, running, until

MR = "1.2.840.10008.5.1.4.1.1.4"
VERIFICATION = "1.2.840.10008.1.1"
HELD, OTHER = Reference(CT, "1.2.3"), Reference(CT, "1.2.4")

SENT = (Sent(*HELD, 7, 2), Sent(*OTHER, 8, 1))


class Reports:
    """Takes reports and lets wait for them."""

    def __init__(self) -> None:
        self.results: asyncio.Queue[Result] = asyncio.Queue()

    def services(self) -> Services:
        return receiving(lambda result, now: self.results.put_nowait(result))

    async def next(self) -> Result:
        async with asyncio.timeout(SOON):
            return await self.results.get()


class Pacs:
    """An SCP on an archive that holds one instance, 1.2.3."""

    def __init__(self, archive: Archive, department: Department, committer: Committer) -> None:
        self.archive = archive
        self.department = department
        self.committer = committer
        self.store = department.store


@asynccontextmanager
async def pacs(
    folder: Path, destinations: Destinations, *, same_association: bool = True
) -> AsyncIterator[Pacs]:
    archive = Archive.open(folder, ArchiveOptions(free_space=0))
    archive.start(asyncio.get_running_loop())
    await offer(archive, data_set("1.2.3"))
    made: list[Committer] = []

    def services(store: Store) -> Services:
        made.append(Committer(store, archive, destinations, same_association=same_association))
        return {
            **made[0].services(),
            **receiving(lambda result, now: None, durably=store),
        }

    try:
        async with department(folder, services, scp_roles=[STORAGE_COMMITMENT]) as one:
            yield Pacs(archive, one, made[0])
    finally:
        await archive.stop()


@asynccontextmanager
async def reporting(folder: Path, reports: Reports) -> AsyncIterator[Pacs]:
    """A PACS that reaches CT1, which takes reports."""
    async with AsyncExitStack() as stack:
        here = listening(reports.services(), scp_roles=[STORAGE_COMMITMENT])
        listener = await stack.enter_async_context(here)
        yield await stack.enter_async_context(pacs(folder, {"CT1": destination("CT1", listener.port)}))


async def ask(pacs: Pacs, uid: str, *references: Reference, calling: str = "CT1") -> Reply:
    async with pacs.department.connect(STORAGE_COMMITMENT, calling_ae_title=calling) as association:
        return await storage_commitment.ask(association, uid, references)


async def test_what_the_archive_holds_is_committed_on_the_same_association(tmp_path: Path) -> None:
    reports = Reports()
    async with pacs(tmp_path, {}) as one, running(one.store, one.committer.kinds()):
        connect = one.department.connect(STORAGE_COMMITMENT, services=reports.services())
        async with connect as association:
            reply = await storage_commitment.ask(association, "1.2.9", [HELD])
            assert reply.status == 0
            assert reply.command.affected_sop_instance_uid == INSTANCE
            assert await reports.next() == Result("1.2.9", (HELD,), ())
        await until(one.store, State.DONE, 1)
        assert one.store.rows("SELECT role, ae_title, state FROM commitment") == [("scp", "CT1", "committed")]


REASONS: dict[Reference, FailureReason | None] = {
    HELD: None,
    Reference(CT, "1.2.99"): FailureReason.NO_SUCH_OBJECT_INSTANCE,
    Reference(MR, "1.2.3"): FailureReason.CLASS_INSTANCE_CONFLICT,
    Reference(VERIFICATION, "1.2.98"): FailureReason.REFERENCED_SOP_CLASS_NOT_SUPPORTED,
    Reference("1.2.3.4.5", "1.2.97"): FailureReason.NO_SUCH_OBJECT_INSTANCE,
}


async def test_each_instance_that_is_not_held_has_its_reason(tmp_path: Path) -> None:
    reports = Reports()
    async with pacs(tmp_path, {}) as one, running(one.store, one.committer.kinds()):
        connect = one.department.connect(STORAGE_COMMITMENT, services=reports.services())
        async with connect as association:
            await storage_commitment.ask(association, "1.2.9", REASONS)
            result = await reports.next()
    assert result.committed == (HELD,)
    assert dict(result.failed) == {reference: reason for reference, reason in REASONS.items() if reason}


async def test_an_instance_whose_bytes_are_gone_is_not_committed(tmp_path: Path) -> None:
    reports = Reports()
    async with pacs(tmp_path, {}) as one:
        await offer(one.archive, data_set("1.2.4"), "1.2.4")
        for segment in (tmp_path / "segments").iterdir():
            segment.rename(segment.with_suffix(".gone"))
        asked = commitment.Asked("1.2.9", "CT1", "RIS", (OTHER,))
        result = commitment.judge(one.archive, asked.transaction_uid, asked.references)
    assert result.failed == ((OTHER, FailureReason.PROCESSING_FAILURE),)
    assert reports.results.empty()


async def test_a_removed_instance_is_no_longer_committed(tmp_path: Path) -> None:
    async with pacs(tmp_path, {}) as one:
        asked = commitment.Asked("1.2.9", "CT1", "RIS", (HELD,))
        assert commitment.judge(one.archive, asked.transaction_uid, asked.references).complete
        await asyncio.to_thread(one.archive.remove, one.archive.plan(instance="1.2.3"))
        assert not commitment.judge(one.archive, asked.transaction_uid, asked.references).complete


@pytest.mark.parametrize("same_association", [True, False])
async def test_a_report_goes_over_a_new_association_when_the_first_is_over_or_not_wanted(
    tmp_path: Path, same_association: bool
) -> None:
    reports = Reports()
    here = listening(reports.services(), scp_roles=[STORAGE_COMMITMENT])
    async with here as listener:
        destinations = {"CT1": destination("CT1", listener.port)}
        async with pacs(tmp_path, destinations, same_association=same_association) as one:
            if same_association:
                await ask(one, "1.2.9", HELD)
                async with running(one.store, one.committer.kinds()):
                    assert await reports.next() == Result("1.2.9", (HELD,), ())
                    await until(one.store, State.DONE, 1)
                return
            async with (
                one.department.connect(STORAGE_COMMITMENT, services=Reports().services()) as association,
                running(one.store, one.committer.kinds()),
            ):
                await storage_commitment.ask(association, "1.2.9", [HELD])
                assert await reports.next() == Result("1.2.9", (HELD,), ())
                await until(one.store, State.DONE, 1)


async def test_a_peer_that_refuses_the_report_there_gets_it_over_a_new_association(tmp_path: Path) -> None:
    reports = Reports()
    async with (
        reporting(tmp_path, reports) as one,
        one.department.connect(STORAGE_COMMITMENT) as association,  # performs nothing: 0122H
        running(one.store, one.committer.kinds()),
    ):
        await storage_commitment.ask(association, "1.2.9", [HELD])
        assert (await reports.next()).complete


async def test_a_report_comes_from_the_ae_title_that_was_asked(tmp_path: Path) -> None:
    callers: list[str] = []

    async def report(operation: Operation) -> Answer:
        callers.append(operation.association.calling_ae_title)
        return Answer()

    services: Services = {(STORAGE_COMMITMENT, NEventReportRq): service(report)}
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(listening(services, scp_roles=[STORAGE_COMMITMENT]))
        one = await stack.enter_async_context(pacs(tmp_path, {"CT1": destination("CT1", listener.port)}))
        asked = Asked("1.2.9", "CT1", "RESEARCH", (HELD,))
        await one.store.change(lambda change: commitment.accept(change, asked, now=0))
        await stack.enter_async_context(running(one.store, one.committer.kinds()))
        await until(one.store, State.DONE, 1)
    assert callers == ["RESEARCH"]


async def test_a_report_is_tried_until_the_peer_is_there(tmp_path: Path) -> None:
    reports = Reports()
    async with listening(reports.services()) as gone:
        port = gone.port
    destinations = {"CT1": destination("CT1", port)}
    async with pacs(tmp_path, destinations) as one:
        await ask(one, "1.2.9", HELD)
        async with running(one.store, one.committer.kinds()):
            failures = asyncio.Event()
            one.store.listen("jobs", failures.set)
            while not one.store.rows("SELECT 1 FROM job WHERE attempts > 1"):
                failures.clear()
                await failures.wait()
            async with listening(reports.services(), scp_roles=[STORAGE_COMMITMENT]) as back:
                destinations["CT1"] = destination("CT1", back.port)
                assert (await reports.next()).complete


@pytest.mark.parametrize(("known", "words"), [(True, "has no host and port"), (False, "is none of")])
async def test_a_report_for_a_peer_without_an_address_waits_and_says_why(
    tmp_path: Path, known: bool, words: str
) -> None:
    async with pacs(tmp_path, {"CT1": None} if known else {}) as one:
        await ask(one, "1.2.9", HELD)
        async with running(one.store, one.committer.kinds()):
            changed = asyncio.Event()
            one.store.listen("jobs", changed.set)
            while not one.store.rows("SELECT 1 FROM job WHERE reason <> ''"):
                changed.clear()
                await changed.wait()
        ((reason, state),) = one.store.rows("SELECT reason, state FROM job")
        assert words in str(reason)
        assert state == "waiting"


def request(uid: str = "1.2.9", references: Sequence[Reference] = (HELD,)) -> DataSet:
    return commitment.request(uid, references)


def action(instance: str = INSTANCE, kind: int = 1) -> NActionRq:
    return NActionRq(0, STORAGE_COMMITMENT, instance, kind)


REFUSED: dict[str, tuple[NActionRq, DataSet | None, int, tuple[int, ...]]] = {
    "another action": (action(kind=2), request(), 0x0123, ()),
    "another instance": (action("1.2.3"), request(), 0x0112, ()),
    "no data set": (action(), None, 0x0120, (tag_of("TransactionUID"), tag_of("ReferencedSOPSequence"))),
    "no transaction UID": (action(), request(""), 0x0121, (tag_of("TransactionUID"),)),
    "a transaction UID that is none": (action(), request("1..2"), 0x0106, (tag_of("TransactionUID"),)),
    "no instances": (action(), request("1.2.9", ()), 0x0121, (tag_of("ReferencedSOPSequence"),)),
    "an instance without a UID": (
        action(),
        request("1.2.9", [Reference(CT, "")]),
        0x0121,
        (tag_of("ReferencedSOPInstanceUID"),),
    ),
    "a UID in use for other instances": (action(), request("1.2.8", [OTHER]), 0x0131, ()),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_request_that_is_refused_changes_nothing(tmp_path: Path, case: str) -> None:
    command, attributes, code, identifiers = REFUSED[case]
    async with pacs(tmp_path, {}) as one:
        await ask(one, "1.2.8", HELD)
        before = one.store.rows("SELECT * FROM commitment"), one.store.rows("SELECT * FROM job")
        async with one.department.connect(STORAGE_COMMITMENT) as association:
            reply = await invoke(association, command, attributes)
        assert f"{reply.status:04X}" == f"{code:04X}"
        assert reply.command.error_comment
        assert reply.command.attribute_identifier_list == identifiers
        assert reply.command.action_type_id == command.action_type_id
        assert before == (one.store.rows("SELECT * FROM commitment"), one.store.rows("SELECT * FROM job"))


async def test_the_same_request_again_is_reported_again_but_not_for_another_peer(tmp_path: Path) -> None:
    reports = Reports()
    async with reporting(tmp_path, reports) as one, running(one.store, one.committer.kinds()):
        for _ in range(2):
            assert (await ask(one, "1.2.9", HELD)).status == 0
            assert (await reports.next()).complete
            await until(one.store, State.DONE, 1)
        assert (await ask(one, "1.2.9", HELD, calling="CT2")).status == 0x0131


REPORTS: dict[str, tuple[int, DataSet | None, int]] = {
    "an unknown transaction": (1, commitment.report(Result("1.2.7", (HELD,), ())), 0x0115),
    "an unknown event": (3, commitment.report(Result("1.2.9", (HELD,), ())), 0x0113),
    "no transaction UID": (1, DataSet().put("ReferencedSOPSequence"), 0x0120),
    "no data set": (1, None, 0x0120),
    "a failure without a reason": (
        2,
        DataSet().put("TransactionUID", "1.2.9").put("FailedSOPSequence", DataSet()),
        0x0120,
    ),
}


@pytest.mark.parametrize("case", REPORTS)
async def test_a_report_that_cannot_be_is_refused_and_changes_nothing(tmp_path: Path, case: str) -> None:
    event, attributes, code = REPORTS[case]
    async with pacs(tmp_path, {}) as one:
        await one.store.change(lambda change: commitment.expect(change, "1.2.9", "PACS", SENT[:1], now=0))
        async with one.department.connect(STORAGE_COMMITMENT) as association:
            command = NEventReportRq(0, STORAGE_COMMITMENT, INSTANCE, event)
            reply = await invoke(association, command, attributes)
        assert f"{reply.status:04X}" == f"{code:04X}"
        assert reply.command.error_comment
        assert one.store.rows("SELECT state FROM commitment") == [("asked",)]


@pytest.mark.parametrize(
    ("result", "state", "again"),
    [
        (Result("1.2.9", (HELD, OTHER), ()), "committed", []),
        (Result("1.2.9", (HELD,), ((OTHER, 0x0112),)), "failed", []),  # asked for often enough
        (Result("1.2.9", (HELD,), ()), "failed", []),  # one instance is not in it at all
        (Result("1.2.9", (OTHER,), ((HELD, 0x0112),)), "failed", [{"record": 7, "rounds": 1}]),
    ],
)
async def test_a_report_on_a_transaction_of_ours_settles_it_once(
    tmp_path: Path, result: Result, state: str, again: list[object]
) -> None:
    async with pacs(tmp_path, {}) as one:
        await one.store.change(lambda change: commitment.expect(change, "1.2.9", "PACS", SENT, now=0))
        async with one.department.connect(STORAGE_COMMITMENT) as association:
            event = 1 if result.complete else 2
            command = NEventReportRq(0, STORAGE_COMMITMENT, INSTANCE, event)
            for _ in range(2):
                reply = await invoke(association, command, commitment.report(result))
                assert (reply.status, reply.command.event_type_id) == (0, event)  # type: ignore[attr-defined]
        assert one.store.rows("SELECT state FROM commitment") == [(state,)]
        assert await sent_again(one.store) == again


async def sent_again(store: Store) -> list[object]:
    """What is to be sent once more."""
    sent = store.rows("SELECT payload FROM job WHERE kind = 'forward' AND destination = 'PACS'")
    return [json.loads(str(payload)) for (payload,) in sent]


async def test_a_transaction_of_ours_without_a_report_counts_as_failed(tmp_path: Path) -> None:
    async with pacs(tmp_path, {}) as one:
        await one.store.change(lambda change: commitment.expect(change, "1.2.9", "PACS", SENT, now=0))
        ((kind, due),) = one.store.rows("SELECT kind, due FROM job")
        assert (kind, due) == ("commitment-check", 3600)
        async with running(one.store, one.committer.kinds()):
            await until(one.store, State.DONE, 1)
        assert one.store.rows("SELECT state FROM commitment") == [("failed",)]
        assert await sent_again(one.store) == [{"record": 7, "rounds": 1}]
        late = await one.store.change(lambda change: commitment.check(change, "1.2.9", now=0))
        assert late is True


async def test_a_request_whose_association_breaks_is_reported_all_the_same(tmp_path: Path) -> None:
    reports = Reports()
    async with reporting(tmp_path, reports) as one:
        async with one.department.connect(STORAGE_COMMITMENT) as association:
            await storage_commitment.ask(association, "1.2.9", [HELD])
            association.abort(why="a test")
        async with running(one.store, one.committer.kinds()):
            assert (await reports.next()).complete
