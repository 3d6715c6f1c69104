"""C-MOVE and C-GET in front of a DICOMweb service: WADO-RS into the cache first (PS3.4 C.4.2, C.4.3).

The services themselves are those of an archive, on the cache. While something is brought the peer is told
that there is more to come, so that it goes on waiting; a C-CANCEL ends the wait, not what others wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from dicomwire.association.performer import Request
from dicomwire.dimse import status
from dicomwire.dimse.command import SubOperationsResponse
from dicomwire.gateway.cache import Cache, Scope
from dicomwire.gateway.cancelling import Cancelled, unless_cancelled
from dicomwire.gateway.failures import RemoteFailed
from dicomwire.gateway.service import Service, value_of
from dicomwire.services.retrieval import PENDING_INTERVAL
from dicomwire.services.selection import Refused, Selection

_STUDY, _SERIES = "0020000D", "0020000E"
MOST_SCOPES: Final = 1_000  # studies or series of one retrieval


@dataclass(frozen=True, slots=True)
class Bring:
    """Makes sure that what a retrieval asks for is in the cache, as far as the service has it."""

    service: Service
    cache: Cache

    @asynccontextmanager
    async def __call__(self, request: Request, selection: Selection) -> AsyncIterator[None]:
        """It is there, and stays there inside. Raises: Refused."""
        telling = asyncio.create_task(_tell(request))
        async with AsyncExitStack() as held:
            try:
                for scope in await unless_cancelled(request, self._scopes(selection)):
                    holding = held.enter_async_context(self.cache.holding(scope))
                    await unless_cancelled(request, holding)
            except Cancelled as error:
                raise Refused(status.CANCEL, str(error)) from None
            except RemoteFailed as error:
                raise Refused(status.CANNOT_CALCULATE_MATCHES, str(error)) from None
            finally:
                telling.cancel()
            yield

    async def _scopes(self, selection: Selection) -> Sequence[Scope]:
        """The studies and series that hold it."""
        studies, series = selection.study_instance_uids, selection.series_instance_uids
        instances = selection.sop_instance_uids
        if studies and not series and not instances and not selection.patient_ids:
            return [Scope(study) for study in studies]
        if len(studies) == 1 and series and not instances:
            return [Scope(studies[0], each) for each in series]
        if len(studies) == 1 and len(series) == 1 and len(instances) == 1:
            return [Scope(studies[0], series[0], instances[0])]
        if len(studies) == 1 and len(series) == 1:
            return [Scope(studies[0], series[0])]
        return await self._searched(selection)

    async def _searched(self, selection: Selection) -> list[Scope]:
        """The same where the request does not name them all."""
        keys = {
            "PatientID": selection.patient_ids,
            "StudyInstanceUID": selection.study_instance_uids,
            "SeriesInstanceUID": selection.series_instance_uids,
            "SOPInstanceUID": selection.sop_instance_uids,
        }
        path = "instances" if keys["SOPInstanceUID"] else "series" if keys["SeriesInstanceUID"] else "studies"
        patients = keys.pop("PatientID") or ("",)
        matches = {keyword: ",".join(uids) for keyword, uids in keys.items() if uids}
        scopes: dict[Scope, None] = {}
        for patient in patients:
            wanted = {**matches, "PatientID": patient} if patient else matches
            found = self.service.search(path, wanted, ["StudyInstanceUID", "SeriesInstanceUID"])
            async with aclosing(found):
                async for row in found:
                    if study := value_of(row, _STUDY):
                        series = None if path == "studies" else value_of(row, _SERIES) or None
                        scopes[Scope(study, series)] = None
                    if len(scopes) > MOST_SCOPES:
                        words = f"more than {MOST_SCOPES} {'studies' if path == 'studies' else 'series'}"
                        raise Refused(status.CANNOT_CALCULATE_MATCHES, f"{words}; ask for less at once")
        return list(scopes)


async def _tell(request: Request) -> None:
    """Say every few seconds that something is still to come; how much is not known yet."""
    while request.association.ended is None:
        await asyncio.sleep(PENDING_INTERVAL)
        answer = request.response(status.PENDING)
        assert isinstance(answer, SubOperationsResponse)
        counted = replace(
            answer,
            affected_sop_class_uid=request.context.abstract_syntax,
            number_of_remaining_suboperations=1,
            number_of_completed_suboperations=0,
            number_of_failed_suboperations=0,
            number_of_warning_suboperations=0,
        )
        request.respond(counted, final=False)
