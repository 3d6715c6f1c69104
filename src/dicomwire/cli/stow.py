"""STOW-RS as a client: instances in multipart requests, the outcome of each from the answer (PS3.18 10.5).

Requests are cut so that one answer covers a bounded share. None holds two instances of one UID: the
answer tells them apart by nothing else. Files go out as they are; a bare data set gets file meta information.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import responses
from typing import TYPE_CHECKING

from dicomwire.cli.connection import Access
from dicomwire.dicom.part10 import write_file_meta
from dicomwire.dimse import status
from dicomwire.services.instances import Instance
from dicomwire.services.sending import Delivery, Outcome, Report

if TYPE_CHECKING:
    import httpx

MOST_INSTANCES = 100  # of one request
MOST_BYTES = 64 << 20  # of one request, unless one instance alone is larger
PIECE = 1 << 20  # bytes read at once
SECONDS = 60.0  # for each step of a request

REFERENCED_SOP_SEQUENCE = "00081199"
FAILED_SOP_SEQUENCE = "00081198"
REFERENCED_SOP_INSTANCE_UID = "00081155"
WARNING_REASON = "00081196"
FAILURE_REASON = "00081197"

Row = Mapping[str, object]  # an object of the DICOM JSON model (PS3.18 F.2)


async def deliver(
    url: str, access: Access, seconds: float | None, instances: Sequence[Instance], report: Report
) -> None:
    """Send instances to a DICOMweb service.

    Args:
        url: base of the service; `/studies` is added where it is missing.
        seconds: to wait for each step of a request.
    """
    import httpx

    target = url.rstrip("/")
    target += "" if target.endswith("/studies") else "/studies"
    token, user = access.token(), access.user
    headers = {"Accept": "application/dicom+json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with httpx.AsyncClient(
        auth=(user, access.secret() or "") if user is not None else None,
        verify=access.context() or True,
        timeout=seconds or SECONDS,
        headers=headers,
    ) as client:
        for share in requests(instances):
            for delivery in await _send(client, target, share):
                report(delivery)


def requests(instances: Sequence[Instance]) -> Iterator[list[Instance]]:
    """Instances of one request each."""
    share: list[Instance] = []
    uids: set[str] = set()
    length = 0
    for instance in instances:
        full = len(share) == MOST_INSTANCES or length + instance.length > MOST_BYTES
        if share and (full or instance.sop_instance_uid in uids):
            yield share
            share, uids, length = [], set(), 0
        share.append(instance)
        uids.add(instance.sop_instance_uid)
        length += instance.length
    if share:
        yield share


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a request.

    Attributes:
        head: what stands before the file: the boundary, the part's headers, file meta if the file has none.
        size: bytes of the file.
    """

    head: bytes
    path: str
    size: int


async def _send(client: httpx.AsyncClient, url: str, instances: Sequence[Instance]) -> list[Delivery]:
    """One request; what became of each instance."""
    import httpx

    boundary = secrets.token_hex(16)
    try:
        parts = [_part(instance, boundary) for instance in instances]
        end = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(sum(len(part.head) + part.size for part in parts) + len(end)),
        }
        answer = await client.post(url, content=_body(parts, end), headers=headers)
    except (httpx.HTTPError, OSError) as error:
        words = str(error) or type(error).__name__
        return [Delivery(instance, Outcome.FAILED, words) for instance in instances]
    return judge(instances, answer.status_code, answer.content)


def _part(instance: Instance, boundary: str) -> Part:
    size = os.stat(instance.name).st_size
    head = f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    if size == instance.length:  # a bare data set
        head += write_file_meta(
            instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid
        )
    return Part(head, instance.name, size)


async def _body(parts: Sequence[Part], end: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part.head
        for piece in _pieces(part.path, part.size):
            yield piece
    yield end


def _pieces(path: str, size: int) -> Iterator[bytes]:
    """Raises: OSError, when the file has become shorter since it was looked at."""
    with open(path, "rb", buffering=0) as file:
        while size:
            piece = file.read(min(size, PIECE))
            if not piece:
                raise OSError(f"{path} has changed since it was looked at")
            size -= len(piece)
            yield piece


def judge(instances: Sequence[Instance], code: int, body: bytes) -> list[Delivery]:
    """What an answer says of each instance.

    Args:
        code: HTTP status.
        body: a store response in the DICOM JSON model, problem details, or anything else.

    Source: PS3.18 10.5.3, Table I.2-1.
    """
    row = _row(body)
    failed = _reasons(row, FAILED_SOP_SEQUENCE, FAILURE_REASON)
    stored = _reasons(row, REFERENCED_SOP_SEQUENCE, WARNING_REASON)
    deliveries = []
    for instance in instances:
        uid, syntax = instance.sop_instance_uid, instance.transfer_syntax_uid
        if uid in failed:
            reason = status.words(status.STORE, failed[uid])
            delivery = Delivery(instance, Outcome.REFUSED, reason, failed[uid], syntax)
        elif stored.get(uid):
            reason = status.words(status.STORE, stored[uid])
            delivery = Delivery(instance, Outcome.WARNING, reason, stored[uid], syntax)
        elif uid in stored or (code in (200, 204) and not failed):
            delivery = Delivery(instance, Outcome.STORED, "", 0, syntax)
        else:
            delivery = Delivery(instance, Outcome.REFUSED, _refusal(code, body), None, syntax)
        deliveries.append(delivery)
    return deliveries


def _row(body: bytes) -> Row:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    if isinstance(found, list):
        found = found[0] if found else {}
    return found if isinstance(found, dict) else {}


def _reasons(row: Row, sequence: str, reason: str) -> dict[str, int]:
    """Reason by SOP instance UID of the items of a sequence; 0 where an item gives none."""
    reasons = {}
    for item in _values(row, sequence):
        if isinstance(item, dict):
            uids, codes = _values(item, REFERENCED_SOP_INSTANCE_UID), _values(item, reason)
            for uid in uids[:1]:
                reasons[str(uid)] = codes[0] if codes and isinstance(codes[0], int) else 0
    return reasons


def _values(row: Row, tag: str) -> Sequence[object]:
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _refusal(code: int, body: bytes) -> str:
    """An HTTP status in words, with the detail of problem details (RFC 9457) where there is one."""
    words = f"HTTP {code} {responses.get(code, '')}".strip()
    detail = _row(body).get("detail")
    return f"{words}: {detail}" if isinstance(detail, str) else words
