"""Searches of worklists: query parameters in, DICOM JSON or XML out (PS3.18 8.3.4, 11.9).

As QIDO-RS; but that every attribute may be a key and be returned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.query import Match, Path, Query
from dicomwire.dicom import xml_model
from dicomwire.dicom.data_set import DataSet, to_json
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.errors import QueryError
from dicomwire.web.media_types import (
    DICOM_XML,
    METADATA_TYPES,
    Wanted,
    accept_of,
    metadata_type,
    metadata_type_of,
    not_acceptable,
)
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.parameters import put_once
from dicomwire.web.problems import Problem
from dicomwire.web.search_query import attribute, given
from dicomwire.work.matching import Selection, query_of, search, texts
from dicomwire.work.store import Store


@dataclass(frozen=True, slots=True)
class Asked:
    """A query string, read.

    Attributes:
        fields: tags to return beside the usual ones.
        everything: `includefield=all`.
    """

    query: Query
    fields: frozenset[int]
    everything: bool


def parse(query_string: bytes, most: int, ignored: Sequence[str] = ()) -> Asked:
    """The query parameters of a search. most: matches of one answer. Raises: Problem 400."""
    found = given(query_string, ignored)
    matches: dict[Path, str] = {}
    for name, value in found.keys:
        put_once(matches, attribute(name), value, name)
    limit = found.number("limit")
    query = query_of(
        [Match(path, value) for path, value in matches.items()],
        limit=(most if limit is None else min(limit, most)) + 1,  # one more tells whether there are more
        offset=found.number("offset") or 0,
        fuzzy=found.flag("fuzzymatching"),
        empty_values=found.flag("emptyvaluematching"),
        all_values=found.flag("multiplevaluematching"),
    )
    return Asked(query, found.fields | {path[0] for path in matches}, found.everything)


async def answer(
    request: Request,
    store: Store,
    options: WebOptions,
    select: Callable[[Query], Selection],
    *,
    usual: frozenset[int],
    hidden: frozenset[int] = frozenset(),
    partial: int = 200,
) -> Response:
    """Answer a search.

    Args:
        usual: tags that are always returned.
        hidden: tags that never are.
        partial: the status where there are more matches than the answer has.

    Raises: Problem: 400, 406.
    """
    form = metadata_type_of(request)
    asked = parse(request.scope["query_string"], options.maximum_results)
    if any(match.path[0] in hidden for match in asked.query.matches):
        raise Problem(400, "a key is an attribute that is not disclosed")
    try:
        selection = select(asked.query)
    except QueryError as error:
        raise Problem(400, str(error)) from None
    ids = await store.beside(lambda: search(store, selection, asked.query))
    limit = (asked.query.limit or 1) - 1
    rows = texts(store, selection.table, ids[:limit], "attributes")
    if not rows:
        return Response(status_code=204)
    found = [_reduced(json.loads(str(text)), asked, usual, hidden) for (text,) in rows]
    if len(ids) <= limit:
        return written(found, form)
    headers = {"Warning": '299 dicomwire "There are additional results that can be requested."'}
    response = written(found, form, headers)
    response.status_code = partial
    return response


def one(request: Request, attributes: DataSet) -> Response:
    """One data set in the form that the client takes: XML in a part, or by itself. Raises: Problem 406."""
    accept = accept_of(request)

    def offer(wanted: Wanted) -> tuple[str, bool] | None:
        form = metadata_type(accept, wanted)
        if form is None and accept.allows(wanted, DICOM_XML, multipart=False):
            return DICOM_XML, True
        return None if form is None else (form, False)

    chosen = accept.choose(offer)
    if chosen is None:
        raise not_acceptable(accept, METADATA_TYPES)
    form, alone = chosen
    text = to_json(attributes)
    return Response(xml_model.encode(text), media_type=form) if alone else written([json.loads(text)], form)


def written(found: Sequence[dict[str, object]], form: str, headers: dict[str, str] | None = None) -> Response:
    """Objects of the DICOM JSON Model as they are or as parts of XML."""
    if form != DICOM_XML:
        body = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        return Response(body, media_type=form, headers=headers)
    writer = PartWriter(DICOM_XML)
    documents = (xml_model.encode(json.dumps(each, ensure_ascii=False)) for each in found)
    parts = [writer.part(DICOM_XML, document) for document in documents]
    return Response(
        b"".join(parts) + writer.tail, headers={**(headers or {}), "Content-Type": writer.content_type}
    )


def _reduced(
    row: dict[str, object], asked: Asked, usual: frozenset[int], hidden: frozenset[int]
) -> dict[str, object]:
    wanted = usual | asked.fields | {SPECIFIC_CHARACTER_SET}
    kept = {}
    for name, value in row.items():
        tag = int(name, 16)
        if (asked.everything or tag in wanted) and tag not in hidden:
            kept[name] = value
    return kept
