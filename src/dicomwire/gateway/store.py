"""STOW-RS in front of a DIMSE archive: what has come goes on by C-STORE (PS3.18 10.5, PS3.4 B).

Each instance is answered as the peer answered it. A peer that answers none of them fails the request as a
whole, as it does when something is retrieved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from dicomwire.archive.archive import Outcome as ArchiveOutcome
from dicomwire.archive.archive import Stored as Kept
from dicomwire.archive.archive import Verdict
from dicomwire.errors import AssociationError
from dicomwire.gateway.cache import Cache
from dicomwire.gateway.failures import at_peer
from dicomwire.gateway.peer import Peer
from dicomwire.services.instances import Instance, from_archive
from dicomwire.services.sending import Delivery, Outcome
from dicomwire.web.store_response import Failure, Reason, Result, Stored

_NEW: Final = frozenset({Verdict.STORED, Verdict.REPLACED})


class Forward:
    """Sends on what a store request has brought; what the peer does not take is not kept either."""

    def __init__(self, peer: Peer, cache: Cache) -> None:
        self._peer = peer
        self._cache = cache

    async def __call__(self, results: Sequence[Result]) -> list[Result]:
        """The results, as the peer has them. Raises: RemoteFailed, when nothing could be sent."""
        archive = self._cache.archive
        found: dict[str, Instance] = {}
        for result in results:
            if isinstance(result, Stored):
                plan = self._plan(result.outcome)
                found |= {each.sop_instance_uid: from_archive(archive, each) for each in plan}
        deliveries: dict[str, Delivery] = {}

        def report(delivery: Delivery) -> None:
            deliveries[delivery.instance.sop_instance_uid] = delivery

        studies = {result.outcome.study_instance_uid for result in results if isinstance(result, Stored)}
        with self._cache.using(studies):
            await self._peer.store(found.values(), report)
        judged = [self._judged(result, deliveries) for result in results]
        await self._forget(results, judged)
        await self._cache.shrink()
        if (silence := _silence(deliveries.values())) is not None:
            with at_peer(self._peer.ae_title, "C-STORE"):
                raise silence
        return judged

    def _judged(self, result: Result, deliveries: dict[str, Delivery]) -> Result:
        if isinstance(result, Failure):
            return result
        outcome = result.outcome
        delivery = deliveries.get(outcome.sop_instance_uid)
        if delivery is not None and delivery.outcome is Outcome.STORED:
            return Stored(outcome)
        if delivery is not None and delivery.outcome is Outcome.WARNING:
            return Stored(outcome, Reason.COERCION_OF_DATA_ELEMENTS)
        words = f"{self._peer.ae_title}: {delivery.reason if delivery else 'not sent'}"
        return Failure(_reason(delivery), words, outcome.sop_class_uid, outcome.sop_instance_uid)

    async def _forget(self, results: Sequence[Result], judged: Sequence[Result]) -> None:
        """Keep nothing that the peer has not, or has in another way: it warns when it coerced something."""
        gone: list[Kept] = []
        for before, after in zip(results, judged, strict=True):
            same = isinstance(after, Stored) and after.warning is None
            if isinstance(before, Stored) and not same and before.outcome.verdict in _NEW:
                gone += self._plan(before.outcome)
        self._cache.doubt({stored.study_instance_uid for stored in gone})
        await asyncio.to_thread(self._cache.archive.remove, gone)

    def _plan(self, outcome: ArchiveOutcome) -> list[Kept]:
        return self._cache.archive.plan(
            study=outcome.study_instance_uid,
            series=outcome.series_instance_uid,
            instance=outcome.sop_instance_uid,
        )


def _silence(deliveries: Collection[Delivery]) -> AssociationError | None:
    """What kept the peer from answering any of them; None where it answered one, or accepts no SOP class."""
    errors = [
        each.error
        for each in deliveries
        if isinstance(each.error, AssociationError) and each.outcome is not Outcome.NO_CONTEXT
    ]
    return errors[0] if errors and len(errors) == len(deliveries) else None


def _reason(delivery: Delivery | None) -> Reason:
    """Failure Reason for what the peer answered, or for there being no answer."""
    if delivery is None or delivery.status is None:
        no_context = delivery is not None and delivery.outcome is Outcome.NO_CONTEXT
        return Reason.SOP_CLASS_NOT_SUPPORTED if no_context else Reason.PROCESSING_FAILURE
    for reason in (Reason.SOP_CLASS_NOT_SUPPORTED, Reason.DUPLICATE_SOP_INSTANCE):
        if delivery.status == reason:
            return reason
    by_class = {
        0xA700: Reason.OUT_OF_RESOURCES,
        0xA900: Reason.DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    }
    if delivery.status >> 12 == 0xC:
        return Reason.CANNOT_UNDERSTAND
    return by_class.get(delivery.status & 0xFF00, Reason.PROCESSING_FAILURE)
