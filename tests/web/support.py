"""What tests of several resources read answers with."""

from __future__ import annotations

import httpx

from dicomwire.web.media_types import parse_media_type
from dicomwire.web.multipart import PartBegin, PartData, PartReader, boundary_of


def parts(response: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    """Headers and body of each part of a multipart answer."""
    reader = PartReader(boundary_of(parse_media_type(response.headers["content-type"])))
    found: list[tuple[dict[str, str], bytes]] = []
    for event in (*reader.feed(response.content), *reader.end()):
        if isinstance(event, PartBegin):
            found.append((dict(event.headers), b""))
        elif isinstance(event, PartData):
            found[-1] = found[-1][0], found[-1][1] + event.data
    return found
