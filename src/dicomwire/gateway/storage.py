"""Storage SCP in front of a DICOMweb service: each C-STORE becomes a STOW-RS request (PS3.4 B, PS3.18 10.5).

The data set is spooled to a file while it comes, so that memory stays bounded; the answer is the service's,
given when that has answered and not before.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

import structlog

from dicomwire.association.performer import Services
from dicomwire.dimse import status
from dicomwire.dimse.status import StatusClass
from dicomwire.gateway.failures import RemoteFailed
from dicomwire.gateway.service import Service
from dicomwire.services import receiving
from dicomwire.services.receiving import Arrival, NotTaken
from dicomwire.web.client import Answer, refusal
from dicomwire.web.store_answer import read

UPLOADS: Final = 16  # to one service at once
_BUFFER: Final = 1 << 18  # bytes of a spool file written at once
_STATUSES: Final[Mapping[int, int]] = {
    400: status.CANNOT_UNDERSTAND,
    413: status.OUT_OF_RESOURCES,
    429: status.OUT_OF_RESOURCES,
    503: status.OUT_OF_RESOURCES,
    504: status.OUT_OF_RESOURCES,
    507: status.OUT_OF_RESOURCES,
}
"""Statuses for HTTP statuses that come without a store response; any other is a processing failure."""

log = structlog.get_logger()


def services(service: Service, spool: Path) -> Services:
    """The Storage SCP, for every context with a storage SOP class.

    Args:
        spool: folder for instances under way; what a crash left there goes.
    """
    spool.mkdir(parents=True, exist_ok=True)
    for left in spool.glob("*.part"):
        left.unlink()
    onward = Onward(service, spool)
    return receiving.services(lambda: onward)


class Onward:
    """A receiver that keeps nothing: what has come is stored at the service."""

    def __init__(self, service: Service, spool: Path) -> None:
        self._service = service
        self._folder = spool
        self._places = asyncio.Semaphore(UPLOADS)

    def open(self, arrival: Arrival) -> IO[bytes]:
        """A file that goes when it is closed."""
        try:
            return tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", buffering=_BUFFER)
        except OSError as error:
            raise NotTaken(f"Cannot be spooled: {error.strerror}", status.OUT_OF_RESOURCES) from None

    async def keep(self, arrival: Arrival, spool: IO[bytes]) -> str | None:
        """Store it. Raises: NotTaken, with the service's verdict where that is no success."""
        spool.flush()
        try:
            async with self._places:
                answer = await self._service.store(Path(spool.name), spool.tell())
        except RemoteFailed as error:
            code = status.OUT_OF_RESOURCES if error.away else status.PROCESSING_FAILURE
            raise NotTaken(str(error), code) from None
        code, comment = verdict(answer, arrival.sop_instance_uid)
        if code != status.SUCCESS:
            raise NotTaken(f"{self._service.name}: {comment}", code)
        spool.close()
        if not comment:
            return None
        log.warning(
            "stored at a gateway's service without a store response",
            gateway=self._service.name,
            sop_instance_uid=arrival.sop_instance_uid,
            status=answer.status,
        )
        return f"{self._service.name}: {comment}"

    def drop(self, spool: IO[bytes]) -> None:
        """Forget it."""
        spool.close()


def verdict(answer: Answer, sop_instance_uid: str) -> tuple[int, str]:
    """Status and words for one instance, from the answer to a request that held nothing else.

    Source: PS3.18 Tables I.2-1, I.2-2; PS3.4 Table B.2-1.
    """
    reasons = read(answer.body)
    if sop_instance_uid in reasons.failed or reasons.others:
        code = reasons.failed.get(sop_instance_uid) or (*reasons.others, 0)[0]
        if status.status_class(status.STORE, code) is not StatusClass.FAILURE:
            return status.PROCESSING_FAILURE, f"refused, reason {code:04X}"
        comment = reasons.comments.get(sop_instance_uid, "")
        return code, f"refused: {status.words(status.STORE, code, comment)}"
    if warning := reasons.stored.get(sop_instance_uid):
        known = status.status_class(status.STORE, warning) is StatusClass.WARNING
        return warning if known else status.COERCION_OF_DATA_ELEMENTS, "stored with a warning"
    if reasons.stored and sop_instance_uid not in reasons.stored:
        return status.DOES_NOT_MATCH_SOP_CLASS, "another instance was stored than the command names"
    unnamed = reasons.unnamed(answer.status)
    if sop_instance_uid in reasons.stored or unnamed:
        return status.SUCCESS, unnamed
    if answer.status in (200, 202, 204):
        return status.PROCESSING_FAILURE, f"HTTP {answer.status} without a store response"
    return _STATUSES.get(answer.status, status.PROCESSING_FAILURE), refusal(answer.status, answer.body)
