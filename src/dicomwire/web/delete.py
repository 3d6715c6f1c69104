"""Deletion of studies, series and instances (PS3.18 10.3 leaves it to the origin server; off by default).

Every version of an instance goes, conflicting ones too, so that nothing of it comes back. What is removed is
unreadable at once, durably; the space is given back by compaction.
"""

from __future__ import annotations

import asyncio

import structlog
from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive
from dicomwire.web.plans import planned

_log = structlog.get_logger()


class Delete:
    """Endpoint of DELETE on a study, a series and an instance."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def __call__(self, request: Request) -> Response:
        versions = planned(request, self._archive, every_version=True)
        await asyncio.to_thread(self._archive.remove, versions)
        client = request.client
        _log.info(
            "web.deleted",
            peer=client.host if client else "",
            instances=len({stored.sop_instance_uid for stored in versions}),
            versions=len(versions),
            **{f"{level}_uid": uid for level, uid in request.path_params.items()},
        )
        return Response(status_code=204)
