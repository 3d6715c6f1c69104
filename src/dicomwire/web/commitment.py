"""Storage Commitment over the web: Request and Result Check (PS3.18 13, J).

The answer is given at once, for the archive knows what is durable, and kept: who lost it asks for it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from time import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive
from dicomwire.dicom.data_set import DataSet, to_json
from dicomwire.uids import is_valid_uid
from dicomwire.web.body import read_data_sets
from dicomwire.web.data_set_form import DataSetForm, data_set_form
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem
from dicomwire.web.resources import uid
from dicomwire.work import commitment
from dicomwire.work.commitment import Reference, Result
from dicomwire.work.refusal import Refused
from dicomwire.work.store import Store

PATH: Final = "/commitment-requests/{transaction}"

# The sequences below a study, and what stands beside each
_BELOW: Final = (
    ("StudyInstanceUID", "ReferencedSeriesSequence"),
    ("SeriesInstanceUID", "ReferencedInstancesBySOPClassSequence"),
    ("ReferencedSOPClassUID", "ReferencedInstanceSequence"),
)


class Commitment:
    """Endpoints of a commitment request."""

    def __init__(self, archive: Archive, store: Store, options: WebOptions) -> None:
        self._archive = archive
        self._store = store
        self._options = options

    async def request(self, request: Request) -> Response:
        """POST: commit to what the archive holds."""
        transaction_uid, form = uid(request, "transaction"), data_set_form(request)
        data_sets = await read_data_sets(request, self._options)
        if len(data_sets) != 1:
            raise Problem(400, f"the body has {len(data_sets)} data sets; one wanted")
        content, complete = await asyncio.to_thread(self._judged, transaction_uid, data_sets[0])
        client = request.client.host if request.client else ""
        try:
            await self._store.change(
                lambda change: commitment.keep(
                    change, transaction_uid, client, content, complete=complete, now=time()
                )
            )
        except Refused as refused:
            raise Problem(409, f"{refused}: {transaction_uid}; GET it for its result") from None
        return await asyncio.to_thread(_answer, content, form)

    async def result(self, request: Request) -> Response:
        """GET: what a transaction was answered."""
        transaction_uid, form = uid(request, "transaction"), data_set_form(request)
        content = await self._store.change(lambda change: commitment.answered(change, transaction_uid))
        if content is None:
            raise Problem(404, f"there is no commitment request {transaction_uid}")
        return await asyncio.to_thread(_answer, content, form)

    def _judged(self, transaction_uid: str, request: DataSet) -> tuple[str, bool]:
        """The response, and whether all is committed. Raises: Problem 400."""
        references = list(_references(request))
        if not references:
            raise Problem(400, "neither ReferencedSOPSequence nor ReferencedStudySequence names an instance")
        result = commitment.judge(self._archive, transaction_uid, references)
        return to_json(_response(request, result)), result.complete


def _answer(content: str, form: DataSetForm) -> Response:
    body, content_type = form.encode(content.encode("utf-8"))
    return Response(body, media_type=content_type)


def _references(data_set: DataSet) -> Iterator[Reference]:
    """Every instance that a request names, alone or in its study. Raises: Problem 400, for what is no UID."""
    for item in data_set.sequence("ReferencedSOPSequence"):
        yield _checked(item.text("ReferencedSOPClassUID"), item.text("ReferencedSOPInstanceUID"))
    for study in data_set.sequence("ReferencedStudySequence"):
        for series in study.sequence("ReferencedSeriesSequence"):
            for group in series.sequence("ReferencedInstancesBySOPClassSequence"):
                for item in group.sequence("ReferencedInstanceSequence"):
                    yield _checked(group.text("ReferencedSOPClassUID"), item.text("ReferencedSOPInstanceUID"))


def _checked(sop_class_uid: str, sop_instance_uid: str) -> Reference:
    if not is_valid_uid(sop_class_uid) or not is_valid_uid(sop_instance_uid):
        raise Problem(400, "an item lacks a valid ReferencedSOPClassUID or ReferencedSOPInstanceUID")
    return Reference(sop_class_uid, sop_instance_uid)


def _response(request: DataSet, result: Result) -> DataSet:
    """The Storage Commitment Response Module, in the form of the request (PS3.18 Table J.2-1)."""
    response = DataSet()
    if request.sequence("ReferencedSOPSequence"):
        named = set(
            _references(DataSet().put("ReferencedSOPSequence", *request.sequence("ReferencedSOPSequence")))
        )
        apart = Result(
            result.transaction_uid,
            tuple(reference for reference in result.committed if reference in named),
            tuple(failure for failure in result.failed if failure[0] in named),
        )
        response.update(commitment.report(apart))
        response.pop(commitment.TRANSACTION_UID)
    failures = dict(result.failed)
    studies = request.sequence("ReferencedStudySequence")
    for keyword, wanted in (("ReferencedStudySequence", False), ("FailedStudySequence", True)):
        items = [item for study in studies if (item := _pruned(study, failures, failed=wanted)) is not None]
        if items:
            response.put(keyword, *items)
    return response


def _pruned(
    item: DataSet, failures: Mapping[Reference, int], *, failed: bool, level: int = 0, sop_class_uid: str = ""
) -> DataSet | None:
    """A study with only those of its instances that failed, with reasons, or only those that did not."""
    if level == len(_BELOW):
        sop_instance_uid = item.text("ReferencedSOPInstanceUID")
        reason = failures.get(Reference(sop_class_uid, sop_instance_uid))
        if failed is (reason is None):
            return None
        leaf = DataSet().put("ReferencedSOPInstanceUID", sop_instance_uid)
        return leaf if reason is None else leaf.put("FailureReason", reason)
    name, below = _BELOW[level]
    kept = []
    for each in item.sequence(below):
        found = _pruned(each, failures, failed=failed, level=level + 1, sop_class_uid=item.text(name))
        if found is not None:
            kept.append(found)
    return DataSet().put(name, item.text(name)).put(below, *kept) if kept else None
