"""Bodies of requests, read at a pace that is worth waiting for (PS3.18 8.6).

A client that trickles, sends too much, or goes away ends its request; nobody else waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

from starlette.requests import ClientDisconnect, Request

from dicomwire.dicom import xml_model
from dicomwire.dicom.data_set import DataSet, from_object
from dicomwire.dicom.json_decode import load
from dicomwire.errors import InvalidAttribute
from dicomwire.web.media_types import DICOM_JSON, DICOM_XML, JSON, parse_media_type
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem, shown

DATA_SET_LIMIT = 16 << 20  # bytes of a data set that is a body of its own
OBJECT_LIMIT = 200_000  # objects in it: 66,000 references of a commitment request
_JSON_MARKS = ((b"{", 1, "objects"), (b",", 4, "values"))
_MARKS = {DICOM_JSON: _JSON_MARKS, JSON: _JSON_MARKS, DICOM_XML: ((b"<", 4, "tags"),)}
"""What is counted in a document that has not been read, how many of it an object may bring, and its name."""


class Body:
    """A request's body at a pace that is worth waiting for, which is watched while its context is open.

    Raises, from the context: Problem 408, when the client is too slow.
    """

    def __init__(self, request: Request, options: WebOptions) -> None:
        """Raises: Problem 413, when the request announces too much."""
        self.received = 0
        self._request = request
        self._ended = False
        self._options = options
        self._renewed = 0
        self._limit = options.maximum_body
        self._pace = asyncio.timeout(options.progress_timeout)
        length = request.headers.get("content-length", "")
        if self._limit and length.isdecimal() and int(length) > self._limit:
            raise self._too_large(int(length))

    async def __aenter__(self) -> Body:
        await self._pace.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._pace.__aexit__(kind, error, trace)
        except TimeoutError:
            span, recent = self._options.progress_timeout, self.received - self._renewed
            detail = (
                f"{self.received} bytes came, {recent} of them in the last {span:g} s;"
                f" {self._options.progress_bytes} wanted"
            )
            raise Problem(408, detail, {"Connection": "close"}) from None

    def pause(self) -> None:
        """What is waited for now is not the client."""
        self._pace.reschedule(None)

    def renew(self) -> None:
        """The client's time begins anew."""
        self._pace.reschedule(asyncio.get_running_loop().time() + self._options.progress_timeout)
        self._renewed = self.received

    async def read(self) -> bytes:
        """The next bytes, b"" at the end.

        Raises: Problem 413, when the body is too long; ClientDisconnect.
        """
        chunk = b""
        while not chunk and not self._ended:
            chunk = await self._next()
        self.received += len(chunk)
        if self._limit and self.received > self._limit:
            raise self._too_large(self.received)
        if not self._ended and self.received - self._renewed >= self._options.progress_bytes:
            self.renew()
        return chunk

    async def _next(self) -> bytes:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._ended = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    def _too_large(self, size: int) -> Problem:
        return Problem(413, f"the body has {size} bytes or more; {self._limit} are taken")


async def read_data_sets(request: Request, options: WebOptions) -> list[DataSet]:
    """The data sets that a request carries: one JSON object, an array of them, or one XML document.

    Raises: Problem: 415 for other media types, 413, 408, 400 for what cannot be read; ClientDisconnect.
    """
    header = request.headers.get("content-type", "")
    essence = parse_media_type(header).essence if header.strip() else ""
    if essence not in (DICOM_JSON, JSON, DICOM_XML):
        raise Problem(415, f"Content-Type is {shown(header, 200)}; {DICOM_JSON} and {DICOM_XML} are taken")
    content = bytearray()
    async with Body(request, options) as body:
        while chunk := await body.read():
            content += chunk
            if len(content) > DATA_SET_LIMIT:
                raise Problem(413, f"the body has more than {DATA_SET_LIMIT} bytes")
    weigh(essence, [content], OBJECT_LIMIT)
    try:
        return await asyncio.to_thread(_data_sets, essence, content)
    except InvalidAttribute as error:
        raise Problem(400, f"the body cannot be read: {error}") from None


def weigh(form: str, documents: Sequence[bytearray], most: int) -> None:
    """Refuse what would cost too much to read: an object takes some 400 bytes of memory, a value 100.

    Args:
        form: media type of the documents.
        most: objects of all of them together.

    Raises: Problem 413.
    """
    for mark, share, words in _MARKS[form]:
        if sum(document.count(mark) for document in documents) > most * share:
            raise Problem(413, f"the request has more than {most * share} {words}")


def _data_sets(form: str, content: bytearray) -> list[DataSet]:
    found = xml_model.decode(bytes(content)) if form == DICOM_XML else load(content)
    return [from_object(each) for each in (found if isinstance(found, list) else [found])]
