"""A remote DIMSE archive: C-FIND, C-GET or C-MOVE to ourselves, C-STORE as SCU (PS3.4 B, C)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal

from dicomwire.association.association import Association
from dicomwire.association.performer import Services
from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.identifier import QUERY_RETRIEVE_LEVEL, Key
from dicomwire.errors import AssociationError, OperationFailed
from dicomwire.gateway.cache import Scope
from dicomwire.gateway.failures import RemoteFailed, at_peer
from dicomwire.services import proposals, querying, retrieving
from dicomwire.services.find_request import Agreed, agreed
from dicomwire.services.instances import Instance
from dicomwire.services.models import UNIQUE_KEYS, Level, Root
from dicomwire.services.move import Destination
from dicomwire.services.proposals import COMMON_STORAGE, QueryOptions, Use
from dicomwire.services.querying import Match
from dicomwire.services.retrieving import Progress, together
from dicomwire.services.sending import Report, deliver

QUESTIONS: Final = 16  # associations for C-FIND with one peer at once
_COUNTS: Final = {
    Level.STUDY: TAGS["NumberOfStudyRelatedInstances"],
    Level.SERIES: TAGS["NumberOfSeriesRelatedInstances"],
}


@dataclass(frozen=True, slots=True)
class Questions:
    """An open association for C-FIND.

    Attributes:
        agreed: what extended negotiation agreed on.
    """

    association: Association
    agreed: Agreed
    ae_title: str

    async def find(
        self, keys: Iterable[Key], level: Level, enough: Callable[[], bool] | None = None
    ) -> AsyncGenerator[Match, None]:
        """Matches as they come. enough: asked behind each, whether C-CANCEL is sent now.

        Raises: RemoteFailed; QueryError, when a key cannot be written.
        """
        wanted = (*keys, Key((QUERY_RETRIEVE_LEVEL,), level.name, given=True))
        with at_peer(self.ae_title, "C-FIND"):
            answers = querying.find(self.association, Root.STUDY.value.find, wanted, enough=enough)
            async with aclosing(answers):
                async for match in answers:
                    yield match


class Peer:
    """A remote archive that speaks DIMSE."""

    def __init__(
        self,
        destination: Destination,
        *,
        ae_title: str,
        storage: Services,
        retrieve: Literal["get", "move"],
    ) -> None:
        """Prepare.

        Args:
            ae_title: ours towards it; with `move` the one that it sends to.
            storage: take what a C-GET brings.
        """
        self.ae_title = destination.ae_title
        self._destination = destination
        self._own = ae_title
        self._storage = storage
        self._retrieve = retrieve
        self._places = asyncio.Semaphore(QUESTIONS)

    @asynccontextmanager
    async def questions(self, *, fuzzy: bool = False, timezone: bool = False) -> AsyncIterator[Questions]:
        """An association for C-FIND. fuzzy, timezone: as in `QueryOptions`. Raises: RemoteFailed."""
        uid = Root.STUDY.value.find
        proposal = proposals.propose([Use.FIND], roots=[Root.STUDY])
        options = QueryOptions(relational=True, combined_date_time=True, fuzzy=fuzzy, timezone=timezone)
        with at_peer(self.ae_title, "association for C-FIND"):
            opened = self._destination.open(
                proposal.contexts, self._own, extended=options.items([Use.FIND], [Root.STUDY])
            )
            async with self._places, opened as association:
                answer = association.agreement.extended_negotiation.get(uid, b"")
                yield Questions(association, agreed(answer), self.ae_title)

    async def count(self, scope: Scope) -> int | None:
        """As `Source`."""
        level = Level.STUDY if scope.series is None else Level.SERIES
        counted = (_COUNTS[level],)
        async with self.questions() as questions:
            matches = questions.find([*_keys(scope), Key(counted)], level)
            async with aclosing(matches):
                found = [match async for match in matches]
        if not found:
            return 0
        with at_peer(self.ae_title, "C-FIND"):
            (text, *_) = found[0].values().get(counted, ()) or ("",)
        return int(text) if text.isascii() and text.isdigit() else None

    async def fetch(self, scope: Scope) -> int | None:
        """As `Source`; told by the final answer and what those before it promised."""
        level = Level.STUDY if scope.series is None else Level.SERIES
        keys = (*_keys(scope), Key((QUERY_RETRIEVE_LEVEL,), level.name, given=True))
        name = f"C-{self._retrieve.upper()}"
        with at_peer(self.ae_title, name):
            end = await (self._get(keys) if self._retrieve == "get" else self._move(keys))
        if end is None or not end.final or end.failed or end.cancelled:
            count = end.failed if end is not None else None
            words = f"{count} instances were not sent" if count else "it ended without a final answer"
            comment = f": {end.comment or end.words}" if end is not None else ""
            raise RemoteFailed(f"{self.ae_title}, {name}: {words}{comment}")
        return None if end.remaining and end.completed is None else end.remaining or 0

    async def store(self, instances: Iterable[Instance], report: Report) -> None:
        """Send instances; what became of each is reported."""
        await deliver(
            instances,
            lambda contexts: self._destination.open(contexts, self._own),
            report,
            syntaxes=self._destination.transfer_syntaxes,
        )

    async def _move(self, keys: Sequence[Key]) -> Progress | None:
        proposal = proposals.propose([Use.MOVE], roots=[Root.STUDY])
        last: Progress | None = None
        async with self._destination.open(proposal.contexts, self._own) as association:
            moving = retrieving.move(association, Root.STUDY.value.move, keys, self._own)
            async with aclosing(moving) as steps:
                async for step in steps:
                    last = _behind(last, step)
        return last

    async def _get(self, keys: Sequence[Key]) -> Progress | None:
        """Get with the common storage SOP classes, then what failed with the others, a group at a time."""
        end, failure = await self._get_once(keys, COMMON_STORAGE)
        for storage in proposals.other_storage():
            if end is None or not end.failed:
                break
            try:
                again, _ = await self._get_once(keys, storage)
            except AssociationError:
                continue  # none of this group is known there
            if again is not None:
                end = together(end, again)
        if failure is not None and (end is None or not end.complete):
            raise failure
        return end

    async def _get_once(
        self, keys: Sequence[Key], storage: Sequence[str]
    ) -> tuple[Progress | None, OperationFailed | None]:
        proposal = proposals.propose([Use.GET], roots=[Root.STUDY], storage=storage)
        last: Progress | None = None
        opened = self._destination.open(
            proposal.contexts, self._own, roles=proposal.roles, services=self._storage
        )
        async with opened as association:
            getting = retrieving.get(association, Root.STUDY.value.get, keys)
            async with aclosing(getting) as steps:
                try:
                    async for step in steps:
                        last = _behind(last, step)
                except OperationFailed as error:
                    return last, error
        return last, None


def _behind(before: Progress | None, step: Progress) -> Progress:
    """An answer behind another; a final one has as remaining what it does not tell of all that was promised.

    Success may stand behind pending answers that counted more: pynetdicom 3.0 says so where an archive's code
    ends early.
    """
    if before is None or not step.final:
        return step
    promised = sum(each or 0 for each in (before.remaining, before.completed, before.failed, before.warning))
    told = sum(each or 0 for each in (step.completed, step.failed, step.warning))
    return replace(step, remaining=max(promised - told, 0))


def _keys(scope: Scope) -> list[Key]:
    uids = ((Level.STUDY, scope.study), (Level.SERIES, scope.series))
    return [Key((UNIQUE_KEYS[level],), uid, given=True) for level, uid in uids if uid is not None]
