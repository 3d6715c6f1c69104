"""The Modality Worklist over the web: searched as QIDO-RS, items kept by URLs (PS3.18 8.3.4, PS3.4 K.6).

The search is that of Supplement 246; POST, PUT and DELETE of items are our own.
"""

from __future__ import annotations

import json
from dataclasses import replace
from time import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.query import Query
from dicomwire.dicom.data_set import DataSet
from dicomwire.dicom.dictionary import TAGS
from dicomwire.web.body import read_data_sets
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem
from dicomwire.web.refused import problem
from dicomwire.web.resources import base_url
from dicomwire.web.work_search import answer, one
from dicomwire.work import worklist
from dicomwire.work.matching import Selection
from dicomwire.work.refusal import Refused
from dicomwire.work.store import Store
from dicomwire.work.worklist_keys import IN_STEP, KEYS, STEP

PATH: Final = "/modality-scheduled-procedure-steps"
ITEM: Final = PATH + "/{item}"

_USUAL: Final = frozenset(TAGS[keyword] for depth, keyword, _, _ in KEYS if depth == 0)
_IN_STEP: Final = frozenset(TAGS[keyword] for keyword in IN_STEP)


class Worklist:
    """Endpoints of the worklist and its items."""

    def __init__(self, store: Store, options: WebOptions) -> None:
        self._store = store
        self._options = options

    async def search(self, request: Request) -> Response:
        """GET: the items that match."""
        return await answer(request, self._store, self._options, _selection, usual=_USUAL)

    async def add(self, request: Request) -> Response:
        """POST: items, one for each scheduled procedure step of each data set."""
        data_sets = await read_data_sets(request, self._options)
        if not data_sets:
            raise Problem(400, "the body has no data set; one or more wanted")
        now = time()
        try:
            numbers = await self._store.change(
                lambda change: [
                    number
                    for data_set in data_sets
                    for number in worklist.add(change, data_set, source="web", now=now)
                ]
            )
        except Refused as refused:
            raise problem(refused) from None
        base = base_url(request, self._options) + PATH
        links = [f"{base}/{number}" for number in numbers]
        body = json.dumps([{"id": number, "url": link} for number, link in zip(numbers, links, strict=True)])
        return Response(body, 201, {"Location": links[0]}, "application/json")

    async def retrieve(self, request: Request) -> Response:
        """GET: one item."""
        try:
            item = worklist.find(self._store, _number(request))
        except Refused as refused:
            raise problem(refused) from None
        return one(request, item.attributes)

    async def replace(self, request: Request) -> Response:
        """PUT: another item in the place of one."""
        number = _number(request)
        data_set = await self._one(request)
        now = time()
        try:
            await self._store.change(lambda change: worklist.replace(change, number, data_set, now=now))
        except Refused as refused:
            raise problem(refused) from None
        return Response(status_code=204)

    async def remove(self, request: Request) -> Response:
        """DELETE: no such item any more."""
        number = _number(request)
        try:
            await self._store.change(lambda change: worklist.remove(change, number))
        except Refused as refused:
            raise problem(refused) from None
        return Response(status_code=204)

    async def _one(self, request: Request) -> DataSet:
        data_sets = await read_data_sets(request, self._options)
        if len(data_sets) != 1:
            raise Problem(400, f"the body has {len(data_sets)} data sets; one wanted")
        return data_sets[0]


def _selection(query: Query) -> Selection:
    """How to search. Raises: QueryError."""
    step = TAGS[STEP]
    matches = [
        replace(match, path=(step, *match.path)) if match.path[0] in _IN_STEP else match
        for match in query.matches
    ]
    return worklist.selection(replace(query, matches=tuple(matches)))


def _number(request: Request) -> int:
    text = str(request.path_params["item"])
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Problem(404, "there is no such worklist item")
    return int(text)
