"""A peer's services in Python calls: echo, find, get, move, store, DIMSE-N (PS3.4 A, B, C, K; PS3.7 9, 10).

    async with dicomwire.connect("PACS@127.0.0.1:104") as association:
        async for study in association.find(PatientName="DOE*"):
            ...

One association for all of it; another one is opened for what is asked in the middle of a loop over answers,
and to `store` what the first has no context for. What a peer answers with a failure is raised as
`OperationFailed`, with its words.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Sequence,
)
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pydicom

from dicomwire.association.association import Association
from dicomwire.dicom import identifier
from dicomwire.dicom.identifier import Key
from dicomwire.dimse import status
from dicomwire.dimse.command import (
    NActionRq,
    NCreateRq,
    NDeleteRq,
    NEventReportRq,
    NGetRq,
    NSetRq,
    Request,
)
from dicomwire.errors import AssociationError, DicomwireError, LocalProtocolError, OperationFailed
from dicomwire.services import (
    data_sets,
    models,
    proposals,
    querying,
    receiving,
    retrieving,
    sending,
)
from dicomwire.services.data_sets import ReceivedInstance, Storable
from dicomwire.services.folder import Folder, Written
from dicomwire.services.keys import Query, Value, in_step, keys_of
from dicomwire.services.lines import Call, Lines
from dicomwire.services.models import Level, Root
from dicomwire.services.normalized import Reply, invoke, performed
from dicomwire.services.proposals import Use
from dicomwire.services.querying import Match, judge
from dicomwire.services.receiving import Mailbox, Receiver
from dicomwire.services.retrieving import Progress
from dicomwire.services.sending import Delivery, Outcome
from dicomwire.services.verification import verify

NOTHING: Final = Progress(
    status.SUCCESS,
    final=True,
    remaining=None,
    completed=0,
    failed=None,
    warning=0,
    comment="",
    failed_sop_instance_uids=(),
    words="",
)


class Retrieval:
    """A C-MOVE or C-GET: `await` it for its end, or iterate over how far it is."""

    def __init__(self, steps: AsyncGenerator[Progress, None]) -> None:
        self._steps = steps

    def __aiter__(self) -> AsyncIterator[Progress]:
        return self._steps

    def __await__(self) -> Generator[object, None, Progress]:
        return self._last().__await__()

    async def _last(self) -> Progress:
        last: Progress | None = None
        async with aclosing(self._steps) as steps:
            async for step in steps:
                last = step
        if last is None:
            raise LocalProtocolError("this retrieval is over: ask again")
        return last


class Client:
    """An association with a peer, and what it can be asked."""

    def __init__(self, lines: Lines, call: Call, others: Sequence[Sequence[str]] = ()) -> None:
        """Prepare; made by `connect`.

        Args:
            lines: the association, and others for what is asked while that is busy.
            call: to open associations for instances to send, and to get.
            others: storage SOP classes that the association has no room for, in groups.
        """
        self._lines = lines
        self._call = call
        self._others = others

    @property
    def association(self) -> Association:
        """What lies below; for whoever needs messages."""
        return self._lines.first

    # C-ECHO

    async def echo(self) -> None:
        """Ask whether the peer is there.

        Raises: NoAcceptedContext; OperationFailed; AssociationError, when the association ends before the
            answer. So do all other methods.
        """
        async with self._lines.use() as association:
            judge(await verify(association), status.ECHO)

    # C-FIND

    async def find(
        self,
        /,
        query: Query = None,
        *,
        level: Level | str | None = None,
        root: Root | str | None = None,
        limit: int | None = None,
        character_set: str | None = None,
        **keys: Value,
    ) -> AsyncGenerator[pydicom.Dataset, None]:
        """Query the peer and yield what matches, as it comes.

        Args:
            query: keys as a data set, a mapping or lines such as `"PatientName=DOE*"`.
            level: PATIENT, STUDY, SERIES or IMAGE; None for that of the lowest key, at least STUDY.
            root: of the information model; None for Study Root, or Patient Root at level PATIENT.
            limit: most matches; then the query is cancelled.
            character_set: Specific Character Set of the keys; None for ASCII, or UTF-8 where that is not
                enough.
            keys: further keys by keyword; None or "" asks for the attribute.

        Raises: QueryError, when a key cannot be.
        """
        matches = self.matches(
            query, level=level, root=root, limit=limit, character_set=character_set, **keys
        )
        async with aclosing(matches):
            async for match in matches:
                yield data_sets.decode(match.data, match.transfer_syntax_uid)

    async def matches(
        self,
        /,
        query: Query = None,
        *,
        level: Level | str | None = None,
        root: Root | str | None = None,
        limit: int | None = None,
        character_set: str | None = None,
        **keys: Value,
    ) -> AsyncGenerator[Match, None]:
        """The same as bytes, without pydicom."""
        given = keys_of(query, keys)
        wanted = _level(level)
        model = _root(root) or models.root_for(given, wanted)
        identifier = models.query(given, model, wanted)
        async with self._lines.use() as association:
            answers = querying.find(
                association, model.value.find, identifier, limit=limit, character_set=character_set
            )
            async with aclosing(answers):
                async for match in answers:
                    yield match

    def worklist(
        self, /, query: Query = None, *, limit: int | None = None, **keys: Value
    ) -> AsyncGenerator[pydicom.Dataset, None]:
        """Scheduled procedure steps; keys of these may be given without their sequence (PS3.4 K)."""
        return self.find(keys_of(query, in_step(keys)), root=Root.WORKLIST, limit=limit)

    # C-MOVE and C-GET

    def move(
        self,
        destination: str,
        query: Query = None,
        *,
        level: Level | str | None = None,
        root: Root | str | None = None,
        **keys: Value,
    ) -> Retrieval:
        """Have the peer send instances to another AE.

        Args:
            destination: an AE title that the peer knows.
            query: what to send: PatientID or UIDs.
            level: None for that of the lowest UID.
            root: None for Study Root, or Patient Root where a PatientID is given.

        Returns: to be awaited, or iterated over for progress.
        """
        model, wanted = _retrieval(keys_of(query, keys), level, root)
        return Retrieval(self._move(model, wanted, destination))

    async def _move(
        self, model: Root, wanted: Sequence[Key], destination: str
    ) -> AsyncGenerator[Progress, None]:
        async with self._lines.use() as association:
            moving = retrieving.move(association, model.value.move, wanted, destination)
            async with aclosing(moving) as steps:
                async for step in steps:
                    yield step

    async def get(
        self,
        /,
        query: Query = None,
        *,
        level: Level | str | None = None,
        root: Root | str | None = None,
        **keys: Value,
    ) -> AsyncGenerator[ReceivedInstance, None]:
        """Have the peer send instances over this association, and yield them as they come.

        The next few are received while one is worked with, the others wait. Leaving early cancels. Arguments
        are those of `move`.

        Raises: OperationFailed behind the last instance, also when the peer could not send all.
        """
        model, wanted = _retrieval(keys_of(query, keys), level, root)
        mailbox = Mailbox(ReceivedInstance)
        steps = self._get(model, wanted, mailbox)
        retrieval = asyncio.ensure_future(_run(Retrieval(steps), mailbox))
        try:
            while (instance := await mailbox.take()) is not None:
                yield instance
            _check(await retrieval)
        finally:
            mailbox.close()
            retrieval.cancel()
            with suppress(asyncio.CancelledError, DicomwireError):
                await retrieval

    def get_files(
        self,
        folder: Path | str,
        query: Query = None,
        *,
        level: Level | str | None = None,
        root: Root | str | None = None,
        report: Callable[[Written], None] = lambda written: None,
        **keys: Value,
    ) -> Retrieval:
        """The same into a folder, `study UID/series UID/instance UID.dcm`; each is on disk when answered.

        Args:
            report: told of each instance that is written.

        Returns: to be awaited, or iterated over for progress.
        """
        model, wanted = _retrieval(keys_of(query, keys), level, root)
        return Retrieval(self._get_files(model, wanted, Folder(folder, report)))

    async def _get_files(
        self, model: Root, wanted: Sequence[Key], folder: Folder
    ) -> AsyncGenerator[Progress, None]:
        try:
            async with aclosing(self._get(model, wanted, folder)) as steps:
                async for step in steps:
                    yield step
        finally:
            folder.close()

    async def _get(
        self, model: Root, wanted: Sequence[Key], receiver: Receiver
    ) -> AsyncGenerator[Progress, None]:
        last: Progress | None = None
        failure: OperationFailed | None = None
        async with (
            self._lines.use(receiver) as association,
            aclosing(retrieving.get(association, model.value.get, wanted)) as steps,
        ):
            try:
                async for last in steps:
                    if not last.final:
                        yield last
            except OperationFailed as error:
                failure = error
        for storage in self._others:
            if last is None or not last.failed:
                break
            last = retrieving.together(last, await self._get_others(model, wanted, receiver, storage))
        if last is not None:
            yield last
        if failure is not None and (last is None or not last.complete):
            raise failure

    async def _get_others(
        self, model: Root, wanted: Sequence[Key], receiver: Receiver, storage: Sequence[str]
    ) -> Progress:
        """Try again for instances of other SOP classes; how that ended, even where it failed."""
        proposal = proposals.propose([Use.GET], roots=[model], storage=storage)
        options = self._call.options
        call = replace(self._call, options=replace(options, roles=(*options.roles, *proposal.roles)))
        end = NOTHING
        with suppress(OperationFailed, AssociationError):
            async with (
                call.open(proposal.contexts, receiving.services(lambda: receiver)) as association,
                aclosing(retrieving.get(association, model.value.get, wanted)) as steps,
            ):
                async for step in steps:
                    end = step
        return end

    # C-STORE

    async def store(self, item: Storable) -> Delivery:
        """Send one instance and wait until the peer has it.

        Where this association has no context for it as it is, another one is opened for it.

        Args:
            item: a file, the bytes of one, or a data set.

        Raises: OperationFailed, when the peer refuses it; AssociationError, when it was not answered;
            LocalProtocolError, when it is nothing to send.
        """
        (instance,) = data_sets.instances_of(item)
        fits = any(
            each.scu_role and each.transfer_syntax == instance.transfer_syntax_uid
            for each in self.association.contexts_for(instance.sop_class_uid)
        )
        if fits:
            async with self._lines.use() as association:
                delivery = await sending.store(association, instance)
        else:
            (delivery,) = await self.store_all([instance])
        if delivery.outcome in (Outcome.STORED, Outcome.WARNING):
            return delivery
        words = f"{delivery.instance.name}: {delivery.outcome.value}: {delivery.reason}"
        if delivery.status is not None:
            raise OperationFailed(words, status=delivery.status)
        raise AssociationError(words)

    async def store_all(
        self,
        items: Iterable[Storable],
        report: Callable[[Delivery], None] = lambda delivery: None,
    ) -> list[Delivery]:
        """Send instances, folders with all that is in them, and tell what became of each.

        They go over associations of their own, which propose what they are stored in. What ends such an
        association costs the instances under way.

        Raises: LocalProtocolError, when something is nothing to send; nothing has been sent then.
        """
        found = [each for item in items for each in data_sets.instances_of(item)]
        deliveries: list[Delivery] = []

        def told(delivery: Delivery) -> None:
            deliveries.append(delivery)
            report(delivery)

        await sending.deliver(found, self._call.open, told)
        return deliveries

    # DIMSE-N

    async def n_create(
        self, sop_class_uid: str, sop_instance_uid: str | None = None, data: pydicom.Dataset | None = None
    ) -> Reply:
        """Have an instance made; without a UID the peer makes one."""
        return await self._invoke(NCreateRq(0, sop_class_uid, sop_instance_uid), data)

    async def n_set(self, sop_class_uid: str, sop_instance_uid: str, data: pydicom.Dataset) -> Reply:
        """Have attributes of an instance changed."""
        return await self._invoke(NSetRq(0, sop_class_uid, sop_instance_uid), data)

    async def n_get(
        self, sop_class_uid: str, sop_instance_uid: str, keywords: Iterable[str] = ()
    ) -> pydicom.Dataset:
        """Attributes of an instance, all without keywords."""
        tags = tuple(identifier.path(keyword)[0] for keyword in keywords)
        reply = await self._invoke(NGetRq(0, sop_class_uid, sop_instance_uid, tags))
        return data_sets.to_pydicom(reply.attributes)

    async def n_action(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        action_type_id: int,
        data: pydicom.Dataset | None = None,
    ) -> Reply:
        """Have something done with an instance."""
        return await self._invoke(NActionRq(0, sop_class_uid, sop_instance_uid, action_type_id), data)

    async def n_delete(self, sop_class_uid: str, sop_instance_uid: str) -> Reply:
        """Have an instance deleted."""
        return await self._invoke(NDeleteRq(0, sop_class_uid, sop_instance_uid))

    async def n_event_report(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        event_type_id: int,
        data: pydicom.Dataset | None = None,
    ) -> Reply:
        """Tell the peer of an event about an instance, as its SCP."""
        return await self._invoke(NEventReportRq(0, sop_class_uid, sop_instance_uid, event_type_id), data)

    async def _invoke(self, command: Request, data: pydicom.Dataset | None = None) -> Reply:
        attributes = data_sets.from_pydicom(data) if data is not None else None
        async with self._lines.use() as association:
            return performed(command, await invoke(association, command, attributes))

    # The end

    async def release(self) -> None:
        """End the association in order, before the `async with` does."""
        await self._lines.release()

    def abort(self) -> None:
        """End the association at once."""
        self._lines.abort("the application wants it")


def _level(level: Level | str | None) -> Level | None:
    return models.level_named(level) if isinstance(level, str) else level


def _root(root: Root | str | None) -> Root | None:
    return models.root_named(root) if isinstance(root, str) else root


def _retrieval(
    keys: Sequence[Key], level: Level | str | None, root: Root | str | None
) -> tuple[Root, tuple[Key, ...]]:
    """Information model and identifier of a C-MOVE or C-GET."""
    wanted = _level(level)
    model = _root(root) or models.root_for(keys, wanted, retrieve=True)
    return model, models.retrieval(keys, model, wanted)


async def _run(retrieval: Retrieval, mailbox: Mailbox[ReceivedInstance]) -> Progress:
    try:
        return await retrieval
    finally:
        await mailbox.end()


def _check(progress: Progress) -> None:
    """Nothing, when all has come.

    Raises: OperationFailed.
    """
    if progress.failed and not progress.cancelled:
        words = [progress.words, f"{progress.failed} instances were not sent", progress.comment]
        words += progress.failed_sop_instance_uids[:3]
        raise OperationFailed(": ".join(filter(None, words)), status=progress.status)
