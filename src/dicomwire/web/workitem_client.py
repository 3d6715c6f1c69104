"""UPS-RS as a client sees it: workitems and their events (PS3.18 11). The server is `workitems`.

The same calls as `services.workitems` has over DIMSE.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from http.client import responses
from typing import Final

from dicomwire.dicom.data_set import DataSet, from_json, from_object, to_json
from dicomwire.dicom.dictionary import keyword_of
from dicomwire.dicom.identifier import Key
from dicomwire.dicom.json_decode import load
from dicomwire.errors import InvalidAttribute, WebServiceError
from dicomwire.web.client import Document, WebClient
from dicomwire.work.ups_client import Done, EventReport
from dicomwire.work.ups_events import Event
from dicomwire.work.ups_subscriptions import filter_of

WORKITEMS: Final = "workitems"
_INSTANCE: Final = "00001000"  # Affected SOP Instance UID
_EVENT: Final = "00001002"  # Event Type ID
_COMMAND: Final = 0x00010000  # tags below are of the command that an event is over DIMSE


class Workitems:
    """The worklist of a DICOMweb service."""

    def __init__(self, client: WebClient) -> None:
        """Ask over a client, for as long as that is open."""
        self._client = client

    async def create(self, attributes: DataSet, sop_instance_uid: str = "") -> Done:
        """Create a workitem; without a UID the service makes one. Raises: WebServiceError, as all others."""
        query = [("workitem", sop_instance_uid)] if sop_instance_uid else []
        answer = await self._client.exchange("POST", WORKITEMS, query, f"[{to_json(attributes)}]")
        named = answer.headers.get("location", "") or answer.headers.get("content-location", "")
        return _done(answer, sop_instance_uid or named.rpartition("/")[2])

    async def retrieve(self, sop_instance_uid: str, tags: Sequence[int] = ()) -> Done:
        """Retrieve a workitem; tags: keep these attributes only."""
        answer = await self._client.exchange("GET", f"{WORKITEMS}/{sop_instance_uid}")
        found = _data_sets(answer)
        if len(found) != 1:
            raise WebServiceError(f"{answer.url}: {len(found)} workitems; one wanted", answer.status)
        kept = {tag: value for tag, value in found[0].items() if not tags or tag in tags}
        return _done(answer, sop_instance_uid, DataSet(kept))

    async def update(self, sop_instance_uid: str, changes: DataSet, transaction_uid: str = "") -> Done:
        """Update a workitem; transaction_uid: the performer's, "" before somebody has taken it."""
        query = [("transaction-uid", transaction_uid)] if transaction_uid else []
        body = f"[{to_json(changes)}]"
        answer = await self._client.exchange("POST", f"{WORKITEMS}/{sop_instance_uid}", query, body)
        return _done(answer, sop_instance_uid)

    async def change_state(self, sop_instance_uid: str, state: str, transaction_uid: str) -> Done:
        """Change the state: IN PROGRESS takes the workitem, COMPLETED and CANCELED end it."""
        told = DataSet().put("ProcedureStepState", state).put("TransactionUID", transaction_uid)
        path = f"{WORKITEMS}/{sop_instance_uid}/state"
        return _done(await self._client.exchange("PUT", path, body=f"[{to_json(told)}]"), sop_instance_uid)

    async def request_cancel(self, sop_instance_uid: str, information: DataSet) -> Done:
        """Request cancellation; information: reason and contact."""
        path, body = f"{WORKITEMS}/{sop_instance_uid}/cancelrequest", f"[{to_json(information)}]"
        answer = await self._client.exchange("POST", path, body=body if information else None)
        return _done(answer, sop_instance_uid)

    async def search(self, keys: Sequence[Key], limit: int | None = None) -> AsyncGenerator[DataSet, None]:
        """Search: the workitems that match, with the attributes that keys name beside the usual ones."""
        matches = {_path(key.path): key.value for key in keys if key.value}
        fields = [_path(key.path) for key in keys if not key.value]
        found = self._client.search(WORKITEMS, matches, fields=fields, limit=limit)
        async with aclosing(found):
            async for each in found:
                yield _data_set(each)

    async def subscribe(
        self, sop_instance_uid: str, receiver: str, *, lock: bool = False, keys: DataSet | None = None
    ) -> Done:
        """Subscribe; receiver: an AE title whose event channel will be opened."""
        query = [("deletionlock", "true" if lock else "false")]
        matches = [f"{_path(match.path)}={match.value}" for match in filter_of(keys or DataSet())]
        if matches:
            query.append(("filter", ",".join(matches)))
        path = f"{WORKITEMS}/{sop_instance_uid}/subscribers/{receiver}"
        return _done(await self._client.exchange("POST", path, query), sop_instance_uid)

    async def unsubscribe(self, sop_instance_uid: str, receiver: str) -> Done:
        """Unsubscribe."""
        path = f"{WORKITEMS}/{sop_instance_uid}/subscribers/{receiver}"
        return _done(await self._client.exchange("DELETE", path), sop_instance_uid)

    async def suspend(self, sop_instance_uid: str, receiver: str) -> Done:
        """Suspend a subscription to all."""
        path = f"{WORKITEMS}/{sop_instance_uid}/subscribers/{receiver}/suspend"
        return _done(await self._client.exchange("POST", path), sop_instance_uid)

    async def events(self, receiver: str) -> AsyncGenerator[EventReport, None]:
        """Open the event channel of an AE: what has waited, and what comes, until the service closes it.

        Raises: WebServiceError, also for a message that is no event.
        """
        messages = self._client.messages(f"subscribers/{receiver}")
        async with aclosing(messages):
            async for message in messages:
                yield event_of(message)


def event_of(message: str) -> EventReport:
    """An event from its message (PS3.18 11.13). Raises: WebServiceError, when it is none."""
    try:
        found = load(message)
        if not isinstance(found, dict):
            raise TypeError("no object")
        uid, event = str(found[_INSTANCE]["Value"][0]), Event(int(found[_EVENT]["Value"][0]))
        told = {name: value for name, value in found.items() if int(name, 16) >= _COMMAND}
        return EventReport(uid, event, from_object(told))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, InvalidAttribute) as error:
        raise WebServiceError(f"a message of an event channel that is no event: {error!r}") from None


def _done(answer: Document, sop_instance_uid: str, attributes: DataSet | None = None) -> Done:
    words = f"HTTP {answer.status} {responses.get(answer.status, '')}".strip()
    warning = answer.headers.get("warning", "")
    return Done(
        sop_instance_uid,
        str(answer.status),
        f"{words}: {warning}" if warning else words,
        attributes if attributes is not None else DataSet(),
    )


def _data_sets(answer: Document) -> list[DataSet]:
    return [_data_set(each) for each in answer.objects()]


def _data_set(found: object) -> DataSet:
    try:
        return from_json(json.dumps(found))
    except InvalidAttribute as error:
        raise WebServiceError(f"a workitem cannot be read: {error}") from None


def _path(path: Sequence[int]) -> str:
    return ".".join(keyword_of(tag) or f"{tag:08X}" for tag in path)
