"""Instances sent on and studies told of, from one archive to another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

import pytest

from dicomwire.archive.archive import Archive, ArchiveOptions
from dicomwire.association.performer import Services
from dicomwire.dicom.data_set import DataSet, tag_of
from dicomwire.dimse.command import NCreateRq
from dicomwire.services import forwarding, instance_availability, storage, storage_commitment
from dicomwire.services.forwarding import Router
from dicomwire.services.instance_availability import INSTANCE_AVAILABILITY
from dicomwire.services.instances import Instance
from dicomwire.services.move import Destinations
from dicomwire.services.normalized import invoke
from dicomwire.services.sending import Delivery, Outcome
from dicomwire.services.storage_commitment import STORAGE_COMMITMENT, Committer
from dicomwire.work import availability, commitment, jobs, procedure_steps
from dicomwire.work.jobs import Done, Failed, Selection, State
from dicomwire.work.procedure_steps import Followers
from dicomwire.work.routes import Notices, Route
from dicomwire.work.store import Store
from tests.archive.test_archive import CT, ORIGIN, data_set, offer
from tests.services.department import SOON, Department, department, destination, listening, running, until
from tests.work.steps import STUDY, beginning, end


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Archive]:
    archive = Archive.open(folder, ArchiveOptions(free_space=0))
    archive.start(asyncio.get_running_loop())
    try:
        yield archive
    finally:
        await archive.stop()


@asynccontextmanager
async def routing(
    store: Store, archive: Archive, rules: Sequence[Route] = (), notices: Notices | None = None
) -> AsyncIterator[None]:
    router = Router(store, archive, rules, notices or Notices())
    await router.start()
    try:
        yield
    finally:
        await router.stop()


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[tuple[Department, Archive, Archive, Destinations]]:
    """A department with its archive, and another archive that takes instances as PACS."""
    async with (
        opened(folder / "here") as here,
        opened(folder / "there") as there,
        listening(
            {(CT, message): service for (_, message), service in storage.services(there).items()}
        ) as pacs,
        department(folder, instance_availability.services) as one,
    ):
        yield one, here, there, {"PACS": destination("PACS", pacs.port)}


async def test_instances_that_come_in_go_on_to_where_rules_say(tmp_path: Path) -> None:
    rules = [Route("PACS", when={"PatientID": "P1"})]
    async with pair(tmp_path) as (one, here, there, peers):
        await offer(here, data_set("1.2.1"), "1.2.1")  # before there were rules
        async with (
            running(one.store, forwarding.kinds(here, None, peers)),
            routing(one.store, here, rules),
        ):
            for number in range(2, 12):
                await offer(here, data_set(f"1.2.{number}"), f"1.2.{number}")
            await offer(here, data_set("1.2.99", patient="P2"), "1.2.99")
            await until(one.store, State.DONE, 10)
        assert {stored.sop_instance_uid for stored in there.plan()} == {f"1.2.{n}" for n in range(2, 12)}


async def test_a_peer_is_asked_to_commit_itself_to_what_it_has_taken(tmp_path: Path) -> None:
    """Its report comes over an association of its own, and settles the transaction."""
    (tmp_path / "pacs").mkdir()
    async with (
        opened(tmp_path / "here") as here,
        opened(tmp_path / "there") as there,
        department(
            tmp_path,
            lambda store: storage_commitment.receiving(lambda result, now: None, durably=store),
            scp_roles=[STORAGE_COMMITMENT],
        ) as one,
    ):
        home = {"RIS": destination("RIS", one.acceptor.port)}
        committers: list[Committer] = []

        def services(store: Store) -> Services:
            committers.append(Committer(store, there, home, same_association=False))
            stored = {(CT, message): each for (_, message), each in storage.services(there).items()}
            return {**stored, **committers[0].services()}

        async with department(tmp_path / "pacs", services) as pacs:
            peers = {"PACS": destination("PACS", pacs.acceptor.port)}
            kinds = {
                **forwarding.kinds(here, None, peers),
                **Committer(one.store, here, peers).kinds(),
            }
            settled = asyncio.Event()
            one.store.listen(commitment.TOPIC, settled.set)
            async with (
                running(pacs.store, committers[0].kinds()),
                running(one.store, kinds),
                routing(one.store, here, [Route("PACS", commit=True)]),
            ):
                for number in range(1, 4):
                    await offer(here, data_set(f"1.2.{number}"), f"1.2.{number}")
                async with asyncio.timeout(SOON):
                    while await uncommitted(one.store):
                        await settled.wait()
                        settled.clear()


async def uncommitted(store: Store) -> int:
    """How many of three instances no report has committed yet."""
    rows = await store.read("SELECT content FROM commitment WHERE role = 'scu' AND state = 'committed'")
    return 3 - sum(len(json.loads(str(content))) for (content,) in rows)


async def test_what_was_stored_while_nobody_routed_is_routed_afterwards(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, here, there, peers):
        rules = [Route("PACS", calling=(ORIGIN.calling_ae_title,))]
        async with routing(one.store, here, rules):
            pass
        await offer(here, data_set("1.2.1"), "1.2.1")
        await offer(here, data_set("1.2.2", pixels=2 << 20), "1.2.2")  # in a segment of its own
        async with (
            running(one.store, forwarding.kinds(here, None, peers)),
            routing(one.store, here, rules),
        ):
            await until(one.store, State.DONE, 2)
        assert {stored.sop_instance_uid for stored in there.plan()} == {"1.2.1", "1.2.2"}


async def test_conflict_versions_and_removed_instances_stay_here(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, here, there, peers):
        async with routing(one.store, here, [Route("PACS")]):
            await offer(here, data_set("1.2.1"), "1.2.1")
            await offer(here, data_set("1.2.1", patient="P2"), "1.2.1")
            await offer(here, data_set("1.2.2"), "1.2.2")
            await until(one.store, State.WAITING, 3)
        await asyncio.to_thread(here.remove, here.plan(instance="1.2.2"))
        async with running(one.store, forwarding.kinds(here, None, peers)):
            await until(one.store, State.DONE, 3)
        (held,) = there.plan()
        with there.open_stored(held) as opened_there:
            assert bytes(opened_there.view).endswith(data_set("1.2.1"))


async def test_the_origin_of_an_instance_is_read_from_its_record(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await offer(archive, data_set("1.2.1"), "1.2.1")
        await offer(archive, data_set("1.2.2", pixels=2 << 20), "1.2.2")
        assert [archive.origin(stored) for stored in archive.plan()] == [ORIGIN, ORIGIN]


def delivery(outcome: Outcome, code: int | None) -> Delivery:
    instance = Instance("x", CT, "1.2.1", "1.2.840.10008.1.2.1", 2, lambda: None)  # type: ignore[arg-type]
    return Delivery(instance, outcome, "words", code)


@pytest.mark.parametrize(
    ("outcome", "code", "result"),
    [
        (Outcome.STORED, 0x0000, Done),
        (Outcome.WARNING, 0xB000, Done),
        (Outcome.REFUSED, 0xA700, False),
        (Outcome.REFUSED, 0x0110, False),
        (Outcome.REFUSED, 0x0124, False),
        (Outcome.REFUSED, 0xA900, True),
        (Outcome.REFUSED, 0xC000, True),
        (Outcome.NO_CONTEXT, None, False),
        (Outcome.FAILED, None, False),
    ],
)
def test_what_may_get_better_is_tried_again(outcome: Outcome, code: int | None, result: object) -> None:
    found = forwarding.judged(delivery(outcome, code))
    if result is Done:
        assert isinstance(found, Done)
    else:
        assert found == Failed("words", final=bool(result))


async def test_a_peer_that_is_away_rests_and_gets_everything_later(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, here, there, peers):
        async with listening({}) as gone:
            away = {"PACS": destination("PACS", gone.port)}
        async with routing(one.store, here, [Route("PACS")]):
            for number in range(1, 6):
                await offer(here, data_set(f"1.2.{number}"), f"1.2.{number}")
            await until(one.store, State.WAITING, 5)
        batch = await one.store.change(lambda change: jobs.listed(change, Selection(), 9))
        results = await forwarding.forward(here, None, away, batch)
        assert {isinstance(each, Failed) and each.unreachable for each in results.values()} == {True}
        async with running(one.store, forwarding.kinds(here, None, peers)):
            await until(one.store, State.DONE, 5)
        assert len(there.plan()) == 5


async def test_a_study_that_is_complete_is_told_of_with_its_steps(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, here, _, _):
        (tmp_path / "ris").mkdir()
        async with department(tmp_path / "ris", instance_availability.services) as ris:
            peers = {"RIS": destination("RIS", ris.acceptor.port)}
            await one.store.change(
                lambda change: procedure_steps.create(change, "1.2.9", beginning(), Followers(), now=0.0)
            )
            kinds = instance_availability.kinds(one.store, here, peers, "DICOMWIRE")
            async with (
                running(one.store, kinds),
                routing(one.store, here, notices=Notices(("RIS",), quiet=0.2)),
            ):
                for uid in ("1.2.1", "1.2.2"):
                    await offer(here, data_set(uid, study=STUDY), uid)
                await until(one.store, State.DONE, 1)
            ((study, sender, content),) = ris.store.rows(
                "SELECT study_instance_uid, ae_title, attributes FROM availability"
            )
        assert (study, sender) == (STUDY, "RIS")
        assert all(word in str(content) for word in ("1.2.1", "1.2.2", "1.2.9", "ONLINE", "DICOMWIRE"))


async def test_a_study_is_not_complete_before_its_steps_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_availability, "AGAIN", 0.05)
    async with pair(tmp_path) as (one, here, _, _):
        (tmp_path / "ris").mkdir()
        async with department(tmp_path / "ris", instance_availability.services) as ris:
            peers = {"RIS": destination("RIS", ris.acceptor.port)}
            for uid, begun in (("1.2.8", 0.0), ("1.2.9", time())):  # one that nobody ended, and one under way
                await one.store.change(
                    lambda change, uid=uid, begun=begun: procedure_steps.create(  # type: ignore[misc]
                        change, uid, beginning(), Followers(), now=begun
                    )
                )
            kinds = instance_availability.kinds(one.store, here, peers, "DICOMWIRE", wait_for_steps=3600)
            notices = Notices(("RIS",), quiet=0.01)
            async with running(one.store, kinds), routing(one.store, here, notices=notices):
                await offer(here, data_set("1.2.1", study=STUDY), "1.2.1")
                looked = asyncio.Event()
                one.store.listen(jobs.TOPIC, looked.set)
                async with asyncio.timeout(SOON):
                    while not one.store.rows("SELECT 1 FROM job WHERE due > created + 0.04"):
                        looked.clear()
                        await looked.wait()
                assert ris.store.rows("SELECT 1 FROM availability") == []
                assert one.store.rows("SELECT max(attempts) <= 1 FROM job") == [(1,)]
                await one.store.change(
                    lambda change: procedure_steps.update(change, "1.2.9", end(), Followers(), now=time())
                )
                await until(one.store, State.DONE, 1)
            assert len(ris.store.rows("SELECT 1 FROM availability")) == 1


def notification() -> DataSet:
    return availability.notification("1.2", [("1.2.1", CT, "1.2.3")], (), "PACS")


REFUSED: dict[str, tuple[str, DataSet | None, int, tuple[int, ...]]] = {
    "the same again": ("1.2.9", notification(), 0x0111, ()),
    "no data set": ("1.2.8", None, 0x0120, (tag_of("StudyInstanceUID"), tag_of("ReferencedSeriesSequence"))),
    "no study": ("1.2.8", notification().put("StudyInstanceUID"), 0x0121, (tag_of("StudyInstanceUID"),)),
    "another availability": (
        "1.2.8",
        notification(),
        0x0106,
        (tag_of("InstanceAvailability"),),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_notifications_that_cannot_be_are_refused(tmp_path: Path, case: str) -> None:
    uid, attributes, code, identifiers = REFUSED[case]
    if case == "another availability":
        assert attributes is not None
        (series,) = attributes.sequence("ReferencedSeriesSequence")
        series.sequence("ReferencedSOPSequence")[0].put("InstanceAvailability", "SOMEWHERE")
    async with (
        department(tmp_path, instance_availability.services) as ris,
        ris.connect(INSTANCE_AVAILABILITY) as association,
    ):
        first = await invoke(association, NCreateRq(0, INSTANCE_AVAILABILITY, "1.2.9"), notification())
        assert first.status == 0
        reply = await invoke(association, NCreateRq(0, INSTANCE_AVAILABILITY, uid), attributes)
        assert (reply.status, reply.command.attribute_identifier_list) == (code, identifiers)
        assert len(ris.store.rows("SELECT * FROM availability")) == 1
