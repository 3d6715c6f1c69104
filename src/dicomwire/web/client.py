"""A DICOMweb service as a client sees it: QIDO-RS, WADO-RS and STOW-RS (PS3.18 10).

Bodies are streamed both ways. What is asked for by GET is asked for again where the service says it is, the
token or password only at the same host (httpx sees to that); a store request is not.
httpx is loaded with this module, so nothing that a node serves imports it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.client import responses
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias
from urllib.parse import quote, urlencode

import httpx

from dicomwire.errors import WebServiceError
from dicomwire.web import event_channel
from dicomwire.web.media_types import DICOM, DICOM_JSON, MULTIPART_RELATED, parse_media_type
from dicomwire.web.multipart import (
    PartBegin,
    PartData,
    PartEvent,
    PartReader,
    WholeBody,
    boundary_of,
)
from dicomwire.web.problems import Problem
from dicomwire.web.retrieved import placed, temporary

JsonObject: TypeAlias = Mapping[str, object]

SECONDS: Final = 60.0  # for each step of a request
PARTIAL_CONTENT: Final = 206
PIECE: Final = 1 << 20  # bytes read of a file at once
LONGEST: Final = 512 << 20  # bytes of an answer that is read as a whole
_MORE: Final = "additional results"  # words of the Warning that there are more (PS3.18 8.3.4.4)
_WARNING: Final = re.compile(r'\b299 \S+ "([^"]*)"')  # RFC 7234 5.5
_DETAIL: Final = 300  # characters of an error's body that are told
_AS_THEY_ARE: Final = "*^,:/@!$'()~"  # in a query, as browsers send them: Orthanc 1.10 does not decode %2A


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be stored.

    Attributes:
        head: bytes before what is in the file: file meta information where it has none.
        size: bytes of the file.
    """

    path: Path
    size: int
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """A store response: the HTTP status and the Store Instances Response, if there was one."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Document:
    """An answer, whole."""

    url: str
    status: int
    headers: httpx.Headers
    content: bytes

    def objects(self) -> list[JsonObject]:
        """Its DICOM JSON objects; none where it has no content. Raises: WebServiceError."""
        return _objects(self) if self.content else []


class _Bearer(httpx.Auth):
    """A bearer token with each request (RFC 6750)."""

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._token if isinstance(self._token, str) else self._token()
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


class WebClient:
    """A DICOMweb service, for the length of an `async with`."""

    def __init__(
        self,
        url: str,
        *,
        token: str | Callable[[], str] | None = None,
        user: tuple[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
        timeout: float = SECONDS,
        store_timeout: float | None = None,
    ) -> None:
        """Prepare.

        Args:
            url: base of the service, as `https://host/dicom-web`.
            token: bearer token, or what gives it for each request. user: name and password for Basic.
            verify: False takes any certificate.
            timeout: seconds for each step of a request.
            store_timeout: seconds for the answer to a store request; None for as long as any step.
        """
        basic = httpx.BasicAuth(*user) if user is not None else None
        self._auth = _Bearer(token) if token is not None else basic
        self._verify = verify
        self._url = url.rstrip("/")
        self._client = httpx.AsyncClient(auth=self._auth, verify=verify, timeout=timeout)
        self._storing = httpx.Timeout(timeout, read=store_timeout or timeout)
        self.warnings: list[str] = []
        """What the service did not do of what it was asked for, in its words."""

    async def __aenter__(self) -> WebClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        await self._client.aclose()

    async def search(
        self,
        path: str = "studies",
        matches: Mapping[str, str] | None = None,
        *,
        fields: Iterable[str] = (),
        limit: int | None = None,
        offset: int = 0,
        fuzzy: bool = False,
    ) -> AsyncGenerator[JsonObject, None]:
        """QIDO-RS: the matches, as DICOM JSON objects; page after page where the service gives pages.

        Args:
            path: below the service, as `studies` or `studies/1.2/series`.
            matches: values by keyword, tag or path of a sequence.
            fields: keywords to return beside the usual ones; `all` for everything.
            limit: matches at most, None for all there are.

        Raises: WebServiceError.
        """
        asked = [*(matches or {}).items(), *(("includefield", field) for field in fields)]
        if fuzzy:
            asked.append(("fuzzymatching", "true"))
        given = 0
        while limit is None or given < limit:
            page = [("offset", str(offset + given))] if offset + given else []
            if limit is not None:
                page.append(("limit", str(limit - given)))
            answer = await self._get(path, DICOM_JSON, [*asked, *page])
            found = _objects(answer) if answer.status in (200, 206) else []
            for each in found:
                yield each
            given += len(found)
            if not found or _MORE not in answer.headers.get("warning", "").lower():
                return

    async def metadata(self, path: str) -> list[JsonObject]:
        """WADO-RS: the metadata of a study, series or instance. Raises: WebServiceError."""
        return _objects(await self._get(f"{path}/metadata", DICOM_JSON))

    async def rendered(
        self, path: str, media_type: str = "image/jpeg", parameters: Mapping[str, str] | None = None
    ) -> bytes:
        """WADO-RS: a study, series, instance or frames as a picture.

        parameters: viewport, window, quality, annotation, iccprofile (PS3.18 8.3.5).
        Raises: WebServiceError, also when what comes is no such picture.
        """
        answer = await self._get(f"{path}/rendered", media_type, list((parameters or {}).items()))
        return _picture(answer.url, answer.headers.get("content-type", ""), answer.content, media_type)

    async def pictures(
        self, path: str, media_type: str = "image/jpeg", parameters: Mapping[str, str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """WADO-RS: as `rendered`, where several may come: each picture of a study or series, one by one.

        Raises: WebServiceError, as `rendered`; when not one comes, too.
        """
        accept = f'{media_type}, {MULTIPART_RELATED}; type="{media_type}"'
        where, given, picture = f"{path}/rendered", "", bytearray()
        async with aclosing(self.parts(where, accept, list((parameters or {}).items()))) as events:
            async for event in events:
                if isinstance(event, PartBegin):
                    given, picture = event.header("content-type") or "", bytearray()
                elif isinstance(event, PartData):
                    picture += event.data
                    if len(picture) > LONGEST:
                        raise WebServiceError(f"{self._url}/{where}: more than {LONGEST >> 20} MB")
                else:
                    yield _picture(f"{self._url}/{where}", given, bytes(picture), media_type)
        if not picture:
            _picture(f"{self._url}/{where}", given, b"", media_type)

    async def parts(
        self, path: str, accept: str, parameters: Sequence[tuple[str, str]] = ()
    ) -> AsyncGenerator[PartEvent, None]:
        """WADO-RS: the parts of an answer as they come; a single part is one, too.

        Raises: WebServiceError, when the service refuses or its answer is none; behind the parts when it
        says that they are not all (206, PS3.18 Table 10.4.3-1).
        """
        async with self._stream(path, accept, parameters) as answer:
            try:
                reader = _reader(answer, accept)
                async for chunk in answer.aiter_bytes():
                    for event in reader.feed(chunk):
                        yield event
                for event in reader.end():
                    yield event
            except Problem as problem:
                raise WebServiceError(f"{self._url}/{path}: {problem.detail}", answer.status_code) from None
            if answer.status_code == PARTIAL_CONTENT:
                words = f"{refusal(PARTIAL_CONTENT, b'')}: the service says that this is not all"
                raise WebServiceError(f"{self._url}/{path}: {words}", PARTIAL_CONTENT)

    async def retrieve(
        self, path: str, folder: Path, *, transfer_syntax: str = "*"
    ) -> AsyncGenerator[Path, None]:
        """WADO-RS: instances into a folder, as `study/series/instance UID.dcm`, each once it is whole.

        transfer_syntax: a UID, or "*" for as they are stored.
        Raises: WebServiceError; OSError; DataSetError or Part10Error, for what is no instance.
        """
        accept = f'{MULTIPART_RELATED}; type="{DICOM}"; transfer-syntax={transfer_syntax}'
        part = temporary(folder)
        with ExitStack() as opened:
            opened.callback(part.unlink, missing_ok=True)
            async with aclosing(self.parts(path, accept)) as events:
                async for event in events:
                    if isinstance(event, PartBegin):
                        file = opened.enter_context(part.open("wb"))
                    elif isinstance(event, PartData):
                        file.write(event.data)
                    else:
                        file.flush()
                        os.fsync(file.fileno())
                        file.close()
                        yield placed(part, folder)

    async def store(self, uploads: Sequence[Upload], *, study: str | None = None) -> Answer:
        """STOW-RS: files in one request. Raises: WebServiceError, when there is no answer."""
        boundary = secrets.token_hex(16)
        head = f"\r\n--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
        end = f"\r\n--{boundary}--\r\n".encode()
        length = sum(len(head) + len(each.head) + each.size for each in uploads) + len(end)
        headers = {
            "Content-Type": f'{MULTIPART_RELATED}; type="{DICOM}"; boundary={boundary}',
            "Content-Length": str(length),
            "Accept": DICOM_JSON,
        }
        url = f"{self._url}/studies" + (f"/{study}" if study else "")
        try:
            body = _body(uploads, head, end)
            request = self._client.stream("POST", url, content=body, headers=headers, timeout=self._storing)
            async with request as answer:
                if answer.has_redirect_location:
                    raise WebServiceError(f"{url}: {_refused(answer, b'')}", answer.status_code)
                return Answer(answer.status_code, await _read(answer))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise WebServiceError(f"{url}: {_words(error)}") from error

    async def delete(self, path: str) -> None:
        """Remove a study, series or instance. Raises: WebServiceError."""
        async with self._stream(path, "*/*", method="DELETE"):
            pass

    async def exchange(
        self, method: str, path: str, parameters: Sequence[tuple[str, str]] = (), body: str | None = None
    ) -> Document:
        """Any other request, with a DICOM JSON body or none, and its answer. Raises: WebServiceError."""
        async with self._stream(path, DICOM_JSON, parameters, method, body) as answer:
            return Document(str(answer.url), answer.status_code, answer.headers, await _read(answer))

    async def messages(self, address: str) -> AsyncGenerator[str, None]:
        """The text messages of a websocket, as they come, until the service closes it.

        address: its URL, or a path below the service.
        Raises: WebServiceError.
        """
        url = address if "://" in address else f"{self._url}/{address}".replace("http", "ws", 1)
        async with aclosing(event_channel.messages(url, self._auth, self._verify)) as found:
            async for message in found:
                yield message

    async def _get(self, path: str, accept: str, parameters: Sequence[tuple[str, str]] = ()) -> Document:
        async with self._stream(path, accept, parameters) as answer:
            for text in _WARNING.findall(answer.headers.get("warning", "")):
                if _MORE not in text.lower() and text not in self.warnings:
                    self.warnings.append(text)
            return Document(str(answer.url), answer.status_code, answer.headers, await _read(answer))

    @asynccontextmanager
    async def _stream(
        self,
        path: str,
        accept: str,
        parameters: Sequence[tuple[str, str]] = (),
        method: str = "GET",
        body: str | None = None,
    ) -> AsyncIterator[httpx.Response]:
        url = f"{self._url}/{path}"
        query = urlencode(parameters, safe=_AS_THEY_ARE, quote_via=quote)
        headers = {"Accept": accept} | ({"Content-Type": DICOM_JSON} if body is not None else {})
        try:
            asked = f"{url}?{query}" if query else url
            request = self._client.stream(
                method, asked, headers=headers, content=body, follow_redirects=method == "GET"
            )
            async with request as answer:
                if not answer.is_success:
                    words = _refused(answer, await _read(answer))
                    raise WebServiceError(f"{url}: {words}", answer.status_code)
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise WebServiceError(f"{url}: {_words(error)}") from error


def refusal(status: int, body: bytes) -> str:
    """An HTTP status in words, with the detail of problem details (RFC 9457) where there is one."""
    words = f"HTTP {status} {responses.get(status, '')}".strip()
    try:
        found = json.loads(body)
    except ValueError:
        return words
    detail = found.get("detail") if isinstance(found, dict) else None
    return f"{words}: {detail[:_DETAIL]}" if isinstance(detail, str) else words


def _refused(answer: httpx.Response, body: bytes) -> str:
    """A refusal in words, with what its headers say of where, or when, it may go well."""
    words = refusal(answer.status_code, body)
    if answer.has_redirect_location:
        return f"{words}: it is at {str(answer.url.join(answer.headers['location']))[:_DETAIL]}; use that URL"
    after = answer.headers.get("retry-after", "")
    return f"{words} (Retry-After: {after[:_DETAIL]})" if after else words


def _words(error: httpx.HTTPError | httpx.InvalidURL) -> str:
    """What went wrong; of connections that failed, why the last one did."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({type(error).__name__})"
    return str(error) or type(error).__name__


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


async def _read(answer: httpx.Response) -> bytes:
    """The whole body. Raises: WebServiceError, when there is no end to it."""
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > LONGEST:
            words = f"{answer.url}: an answer of more than {LONGEST >> 20} MB"
            raise WebServiceError(words, answer.status_code)
    return bytes(body)


def _objects(answer: Document) -> list[JsonObject]:
    try:
        found = json.loads(answer.content)
    except (ValueError, RecursionError) as error:
        raise WebServiceError(f"{answer.url}: no JSON: {error}", answer.status) from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise WebServiceError(f"{answer.url}: no array of DICOM JSON objects", answer.status)
    return found


def _reader(answer: httpx.Response, accept: str) -> PartReader | WholeBody:
    """What takes an answer apart. Raises: Problem; WebServiceError for text, such as the page of a login."""
    given = answer.headers.get("content-type", "")
    content_type = parse_media_type(given or DICOM)
    if content_type.essence == MULTIPART_RELATED:
        return PartReader(boundary_of(content_type))
    if content_type.essence.startswith("text/") and content_type.essence not in accept:
        words = f"{answer.url}: {content_type.essence} came; {accept} wanted"
        raise WebServiceError(words, answer.status_code)
    return WholeBody((("content-type", given),))


def _picture(url: str, content_type: str, content: bytes, media_type: str) -> bytes:
    """A picture, if it is one of what was asked for. Raises: WebServiceError."""
    given = _essence(content_type)
    wanted = any(fnmatchcase(given, _essence(each)) for each in media_type.split(","))
    if content and wanted:
        return content
    raise WebServiceError(f"{url}: {len(content)} bytes of {given or 'no media type'}; {media_type} wanted")


async def _body(uploads: Sequence[Upload], head: bytes, end: bytes) -> AsyncIterator[bytes]:
    for each in uploads:
        yield head + each.head
        remaining = each.size
        with each.path.open("rb", buffering=0) as file:
            while remaining:
                piece = file.read(min(remaining, PIECE))
                if not piece:
                    raise OSError(f"{each.path} has changed since it was looked at")
                remaining -= len(piece)
                yield piece
    yield end
