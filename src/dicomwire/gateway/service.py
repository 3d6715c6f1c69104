"""A remote DICOMweb service: QIDO-RS, WADO-RS into a cache, STOW-RS (PS3.18 10.4, 10.5, 10.6)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from dicomwire.archive.archive import Archive, Origin
from dicomwire.errors import WebServiceError
from dicomwire.gateway.cache import Scope
from dicomwire.gateway.failures import RemoteFailed, at_service
from dicomwire.web.client import Answer, JsonObject, Upload, WebClient
from dicomwire.web.intake import Instances
from dicomwire.web.media_types import DICOM, MULTIPART_RELATED
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem
from dicomwire.web.store_response import Failure

PAGE: Final = 200  # matches that are asked for at once
NOT_HERE: Final = (404, 410)  # never was, or was removed
NOT_ACCEPTABLE: Final = 406
_FILES: Final = f'{MULTIPART_RELATED}; type="{DICOM}"'
_ACCEPTED: Final = (f"{_FILES}; transfer-syntax=*", _FILES)  # as stored; what a service gives that cannot
_COUNTS: Final = {"studies": "NumberOfStudyRelatedInstances", "series": "NumberOfSeriesRelatedInstances"}
_TAGS: Final = {"studies": "00201208", "series": "00201209"}


class Service:
    """A remote archive that speaks DICOMweb."""

    def __init__(self, name: str, client: WebClient, archive: Archive, options: WebOptions) -> None:
        """Prepare.

        Args:
            archive: of the cache, which what is retrieved goes into.
            options: what is taken from the service.
        """
        self.name = name
        self._client = client
        self._archive = archive
        self._options = options

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()

    async def search(
        self, path: str, matches: Mapping[str, str], fields: Sequence[str], *, fuzzy: bool = False
    ) -> AsyncGenerator[JsonObject, None]:
        """Matches, page after page. Raises: RemoteFailed."""
        offset, first = 0, ""
        while True:
            count = 0
            with at_service(self.name, "QIDO-RS"):
                found = self._client.search(
                    path, matches, fields=fields, limit=PAGE, offset=offset, fuzzy=fuzzy
                )
                async with aclosing(found):
                    async for row in found:
                        if not count:
                            if offset and str(row) == first:
                                return  # a service that knows no offset begins again
                            first = str(row)
                        count += 1
                        yield row
            if count < PAGE:
                return
            offset += count

    async def count(self, scope: Scope) -> int | None:
        """As `Source`."""
        if scope.series is None:
            path, level, key = "studies", "studies", {"StudyInstanceUID": scope.study}
        else:
            path, level = f"studies/{scope.study}/series", "series"
            key = {"SeriesInstanceUID": scope.series}
        found = self.search(path, key, [_COUNTS[level]])
        async with aclosing(found):
            rows = [row async for row in found]
        if not rows:
            return 0
        count = value_of(rows[0], _TAGS[level])
        return int(count) if count.isascii() and count.isdigit() else None

    async def fetch(self, scope: Scope) -> None:
        """As `Source`; HTTP does not say whether it was all."""
        path = f"studies/{scope.study}" + (f"/series/{scope.series}" if scope.series else "")
        origin = Origin("gateway", self.name)
        intake = Instances(self._archive, self._options, origin, scope.study)
        try:
            with at_service(self.name, "WADO-RS"):
                await self._receive(path, intake)
        except Problem as problem:
            raise RemoteFailed(f"{self.name}, WADO-RS: {problem.detail}") from None
        finally:
            intake.abort()
        failures = [result for result in await intake.results() if isinstance(result, Failure)]
        if failures:
            words = f"{len(failures)} instances could not be kept: {failures[0].comment}"
            raise RemoteFailed(f"{self.name}, WADO-RS: {words}")

    async def _receive(self, path: str, intake: Instances) -> None:
        """Take an answer apart; one that says there is nothing brings nothing."""
        for accept in _ACCEPTED:
            try:
                async with aclosing(self._client.parts(path, accept)) as events:
                    async for event in events:
                        intake.take(event)
                        if intake.congested:
                            await intake.drain()
                return
            except WebServiceError as error:
                if error.status in NOT_HERE:
                    return
                if error.status != NOT_ACCEPTABLE or accept == _ACCEPTED[-1]:
                    raise

    async def store(self, file: Path, size: int) -> Answer:
        """Store one file. Raises: RemoteFailed, when there is no answer."""
        with at_service(self.name, "STOW-RS"):
            return await self._client.store([Upload(file, size)])


def value_of(row: JsonObject, tag: str) -> str:
    """The first value of an attribute as text, "" where there is none."""
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""
