"""Storage Commitment as a web client asks for it (PS3.18 13). The server is `commitment`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Final

from dicomwire.dicom.data_set import from_json, to_json
from dicomwire.errors import InvalidAttribute, WebServiceError
from dicomwire.web.client import Document, WebClient
from dicomwire.work import commitment
from dicomwire.work.commitment import Reference, Result
from dicomwire.work.refusal import Refused

_PATH: Final = "commitment-requests"
_PENDING: Final = 202  # the result comes later, and is asked for (PS3.18 13.3.3, 13.4)
_BETWEEN: Final = 1  # seconds between two looks at it, where the service does not say how many


async def ask(
    client: WebClient, transaction_uid: str, references: Iterable[Reference], *, wait: float
) -> Result:
    """Ask a service to commit itself to instances, and wait for what it says.

    wait: seconds for a result that is not there at once.
    Returns: the result; where it does not come in time one that names no instance.
    Raises: WebServiceError, when the service refuses, or its answer cannot be read.
    """
    asked = commitment.request(transaction_uid, references)
    asked.pop(commitment.TRANSACTION_UID)  # the URL names it
    path = f"{_PATH}/{transaction_uid}"
    answer = await client.exchange("POST", path, body=f"[{to_json(asked)}]")
    try:
        async with asyncio.timeout(wait):
            while answer.status == _PENDING:
                await asyncio.sleep(_pause(answer))
                answer = await client.exchange("GET", path)
    except TimeoutError:
        return Result(transaction_uid, (), ())
    return _result(answer, transaction_uid)


def _pause(answer: Document) -> int:
    """Seconds until the next look (RFC 9110 10.2.3)."""
    named = answer.headers.get("retry-after", "")
    return int(named) if named.isascii() and named.isdecimal() and len(named) < 6 else _BETWEEN


def _result(answer: Document, transaction_uid: str) -> Result:
    """What an answer says, one object or an array with it."""
    try:
        found = json.loads(answer.content)
        one = found[0] if isinstance(found, list) and len(found) == 1 else found
        report = from_json(json.dumps(one)).put(commitment.TRANSACTION_UID, transaction_uid)
        return commitment.read_report(report)
    except (ValueError, RecursionError, InvalidAttribute, Refused) as error:
        raise WebServiceError(f"{answer.url}: the result cannot be read: {error}", answer.status) from None
