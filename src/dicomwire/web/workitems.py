"""UPS-RS: workitems created, retrieved, updated, taken, cancelled and searched (PS3.18 11.4-11.9)."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Final
from urllib.parse import parse_qsl
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.dicom.data_set import DataSet
from dicomwire.dicom.dictionary import TAGS
from dicomwire.uids import is_valid_uid
from dicomwire.web.body import read_data_sets
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem
from dicomwire.web.refused import STATUS_OF, problem
from dicomwire.web.resources import base_url, uid
from dicomwire.web.work_search import answer, one
from dicomwire.work import ups, workitem
from dicomwire.work.refusal import Reason, Refused
from dicomwire.work.store import Store
from dicomwire.work.ups import Changed
from dicomwire.work.ups_attributes import RETURNED
from dicomwire.work.ups_rules import Warned

WORKITEMS: Final = "/workitems"
WORKITEM: Final = WORKITEMS + "/{workitem}"
STATE: Final = WORKITEM + "/state"
CANCEL: Final = WORKITEM + "/cancelrequest"

_USUAL: Final = frozenset(TAGS[keyword] for keyword in RETURNED)
_INCONSISTENT: Final = "The submitted request is inconsistent with the current state of the UPS Instance."
_WARNINGS: Final = {
    Reason.UPS_TRANSACTION: "The Transaction UID is missing or incorrect.",
    Reason.UPS_FINAL: _INCONSISTENT,
    Reason.UPS_IN_PROGRESS: "The target UPS is already IN PROGRESS.",
    Reason.UPS_NOT_IN_PROGRESS: _INCONSISTENT,
    Reason.UPS_NOT_MET: _INCONSISTENT,
    Reason.UPS_COMPLETED: "The UPS is already COMPLETED.",
    Reason.UPS_NO_CONTACT: "The performer cannot be contacted.",
    Reason.UPS_NOT_CANCELED: "The performer chooses not to cancel.",
}
"""Warning headers of refusals (PS3.18 11.6.3.2, 11.7.3.2, 11.8.3.2)."""

_REMARKS: Final = {
    Warned.MODIFIED: "The Workitem was created with modifications",
    Warned.COERCED: "The Workitem was updated with modifications",
}
"""Warning headers of what was done, where they are not DIMSE's words (PS3.18 11.4.3.2, 11.6.3.2)."""


class Workitems:
    """Endpoints of the worklist and its workitems."""

    def __init__(self, store: Store, options: WebOptions) -> None:
        self._store = store
        self._options = options

    async def create(self, request: Request) -> Response:
        """POST: a new workitem."""
        attributes = await self._one(request)
        named = _named(request, "workitem", "affectedsopinstanceuid")
        named = named or attributes.text("SOPInstanceUID") or f"2.25.{uuid4().int}"
        if not is_valid_uid(named):
            raise Problem(400, "the workitem's UID is none")
        now = time()
        try:
            changed = await self._store.change(lambda change: ups.create(change, named, attributes, now=now))
        except Refused as refused:
            raise _problem(refused) from None
        done = self._done(request, named, changed, status=201)
        done.headers["Location"] = done.headers["Content-Location"]
        return done

    async def search(self, request: Request) -> Response:
        """GET: the workitems that match."""
        return await answer(
            request,
            self._store,
            self._options,
            workitem.selection,
            usual=_USUAL,
            hidden=frozenset({ups.TRANSACTION_UID}),
            partial=206,  # Table 11.9.3-1
        )

    async def retrieve(self, request: Request) -> Response:
        """GET: one workitem, without its Transaction UID."""
        try:
            found = workitem.find(self._store, uid(request, "workitem"))
        except Refused as refused:
            raise _problem(refused) from None
        return one(request, found.attributes)

    async def update(self, request: Request) -> Response:
        """POST: attributes of a workitem."""
        named = uid(request, "workitem")
        changes = await self._one(request)
        transaction_uid = _named(request, "transaction-uid", "transactionuid")
        transaction_uid = transaction_uid or changes.text(ups.TRANSACTION_UID)
        now = time()
        try:
            changed = await self._store.change(
                lambda change: ups.update(change, named, changes, transaction_uid, now=now)
            )
        except Refused as refused:
            raise _problem(refused, {Reason.UPS_FINAL: 400}) from None  # Table 11.6.3-1
        return self._done(request, named, changed)

    async def change_state(self, request: Request) -> Response:
        """PUT: take, complete or cancel a workitem."""
        named = uid(request, "workitem")
        wanted = await self._one(request)
        state, transaction_uid = wanted.text(ups.STATE), wanted.text(ups.TRANSACTION_UID)
        if not state:
            raise Problem(400, "ProcedureStepState is missing")
        now = time()
        try:
            changed = await self._store.change(
                lambda change: ups.change_state(change, named, state, transaction_uid, now=now)
            )
        except Refused as refused:
            raise _problem(refused) from None
        return self._done(request, named, changed)

    async def request_cancel(self, request: Request) -> Response:
        """POST: ask for a workitem to be cancelled."""
        named = uid(request, "workitem")
        has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
        information = await self._one(request) if has_body else DataSet()
        asker = information.text("RequestingAE") or _named(request, "requester") or "WEB"
        now = time()
        try:
            changed = await self._store.change(
                lambda change: ups.request_cancel(
                    change, named, information, asker, now=now, on_cancel=self._options.ups.on_cancel
                )
            )
        except Refused as refused:
            raise _problem(refused, {Reason.UPS_GONE: 404}) from None  # Table 11.8.3-1 has no 410
        return self._done(request, named, changed, status=202)

    def _done(self, request: Request, named: str, changed: Changed, *, status: int = 200) -> Response:
        headers = {"Content-Location": f"{base_url(request, self._options)}{WORKITEMS}/{named}"}
        if changed.warned is not None:
            headers["Warning"] = f'299 dicomwire "{_REMARKS.get(changed.warned, changed.warned.value)}."'
        return Response(status_code=status, headers=headers)

    async def _one(self, request: Request) -> DataSet:
        data_sets = await read_data_sets(request, self._options)
        if len(data_sets) != 1:
            raise Problem(400, f"the body has {len(data_sets)} data sets; one wanted")
        return data_sets[0]


def _named(request: Request, *names: str) -> str:
    """A query parameter by any of its names; a query that is nothing but a UID is it."""
    query = request.scope["query_string"].decode("latin-1")
    if query and "=" not in query:
        return query if "workitem" in names or "transaction-uid" in names else ""
    found = {name.lower(): value for name, value in parse_qsl(query)}
    return next((found[name] for name in names if name in found), "")


def _problem(refused: Refused, statuses: Mapping[Reason, int] = STATUS_OF) -> Problem:
    """The answer to a request that was refused; statuses: of this transaction, before the usual ones."""
    found = problem(refused, {**STATUS_OF, **statuses})
    words = _WARNINGS.get(refused.reason)
    if words is not None:
        found.headers["Warning"] = f'299 dicomwire "{words}"'
    return found
