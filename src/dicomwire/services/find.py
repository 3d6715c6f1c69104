"""C-FIND of Query/Retrieve, SCP: matches stream from the catalogue to the wire (PS3.4 C.4.1, PS3.7 9.1.2).

The first answers go out before the last match is known, no more are held than one page, and a C-CANCEL ends
them at once. Text is written in the character set that the request names, else in the one configured for the
peer, else in the study's own; a character that it lacks becomes "?".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import structlog

from dicomwire.archive.archive import Archive
from dicomwire.archive.catalogue import Row
from dicomwire.archive.search import Found
from dicomwire.archive.statement import Field, Plan, plan
from dicomwire.association.performer import Request, Services, Sink
from dicomwire.association.words import printable
from dicomwire.dicom.data_set import Attribute, DataSet, decode, encode, from_json
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dimse import status
from dicomwire.dimse.command import CFindRq, CFindRsp
from dicomwire.errors import DataSetError, InvalidAttribute, QueryError, SearchError
from dicomwire.services.find_request import (
    LEVEL_NAMES,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    Asked,
    Unfit,
    agreed,
    answered,
    read,
)
from dicomwire.services.identifier import LIMIT, Collector
from dicomwire.services.models import Root

__all__ = ["FIND", "answered", "services"]

FIND: Final = {root.value.find: root for root in Root if root.value.levels}
"""Information models by the SOP class that finds in them."""


log = structlog.get_logger()


def services(archive: Archive, ae_titles: tuple[str, ...]) -> Services:
    """The C-FIND SCP of every information model.

    ae_titles: ours; the one that was called, else the first, is where matches can be retrieved from.
    """
    return {(sop_class_uid, CFindRq): partial(find, archive, ae_titles) for sop_class_uid in FIND}


def find(archive: Archive, ae_titles: tuple[str, ...], request: Request) -> Sink:
    """Begin a C-FIND: its Identifier follows."""
    return Collector(partial(_perform, archive, ae_titles, request))


async def _perform(
    archive: Archive, ae_titles: tuple[str, ...], request: Request, data: bytes | None
) -> None:
    association = request.association
    try:
        asked = _asked(request, data)
        planned = plan(asked.query)
    except (DataSetError, InvalidAttribute) as error:
        _refuse(request, status.UNABLE_TO_PROCESS, f"Identifier: {error}")
        return
    except SearchError as error:
        _refuse(request, status.OUT_OF_RESOURCES, str(error))
        return
    except QueryError as error:
        offending = (error.tag,) if isinstance(error, Unfit) else ()
        _refuse(request, status.IDENTIFIER_DOES_NOT_MATCH, str(error), offending)
        return
    called = association.called_ae_title
    retrieve_from = called if called in ae_titles else ae_titles[0]
    answers = Answers(asked, planned, retrieve_from, asked.character_set or association.character_set or None)
    pending = status.PENDING_WARNING if asked.unsupported else status.PENDING
    matches = 0
    try:
        pages = archive.searches.pages(planned, lambda: request.cancelled)
        while not (pages.finished or request.cancelled):
            for found in await pages.next():
                if request.cancelled:
                    break
                identifier = answers.encode(found, request.context.transfer_syntax)
                await request.send(_response(request, pending), [identifier])
                matches += 1
    except SearchError as error:
        _refuse(request, status.OUT_OF_RESOURCES, str(error))
        return
    final = status.CANCEL if request.cancelled else status.SUCCESS
    log.info(
        "query answered",
        association=association.id,
        level=LEVEL_NAMES[asked.query.level],
        keys=len(asked.query.matches),
        matches=matches,
        status=status.words(status.FIND, final),
    )
    request.respond(_response(request, final))


def _asked(request: Request, data: bytes | None) -> Asked:
    """The query that a request stands for. Raises: what makes it none."""
    if data is None:
        raise SearchError(f"Identifier has more than {LIMIT >> 20} MiB")
    context, association = request.context, request.association
    if association.character_set:  # until the Identifier names another one
        own = DataSet().put(SPECIFIC_CHARACTER_SET, *association.character_set.split("\\"))
        named = encode(own, context.transfer_syntax, character_set=association.character_set, substitute=True)
        identifier = decode(named + data, context.transfer_syntax)
        if not decode(data, context.transfer_syntax).has_value(SPECIFIC_CHARACTER_SET):
            identifier.pop(SPECIFIC_CHARACTER_SET, None)
    else:
        identifier = decode(data, context.transfer_syntax)
    negotiated = association.agreement.extended_negotiation.get(context.abstract_syntax, b"")
    return read(identifier, FIND[context.abstract_syntax], agreed(negotiated))


class Answers:
    """The Identifiers of one C-FIND's answers; a study and a series are read once for all their rows."""

    def __init__(self, asked: Asked, planned: Plan, retrieve_from: str, character_set: str | None) -> None:
        self._asked = asked
        self._fields = planned.fields
        self._character_set = character_set
        self._fixed = DataSet()
        for tag in asked.returned:
            self._fixed.put(tag)
        self._fixed.put(QUERY_RETRIEVE_LEVEL, LEVEL_NAMES[asked.query.level])
        self._fixed.put(RETRIEVE_AE_TITLE, retrieve_from)
        self._known: dict[str, tuple[Row, DataSet]] = {}

    def encode(self, found: Found, transfer_syntax_uid: str) -> bytes:
        """One match as bytes."""
        answer = DataSet(self._fixed)
        answer.update(self._of("study", found.study))
        if "series" in self._fields:
            answer.update(self._of("series", found.series))
        if "instance" in self._fields:
            answer.update(self._of("instance", found.instance))
        stored = answer.pop(SPECIFIC_CHARACTER_SET, None)
        term = self._character_set
        if term is None:
            term = "\\".join(str(value) for value in stored.values) if stored is not None else ""
        return encode(answer, transfer_syntax_uid, character_set=term, substitute=True)

    def _of(self, table: str, row: Row) -> DataSet:
        known = self._known.get(table)
        if known is None or known[0] is not row:
            known = self._known[table] = row, DataSet(self._attributes(self._fields[table], row))
        return known[1]

    def _attributes(self, fields: tuple[Field, ...], row: Row) -> Iterator[tuple[int, Attribute]]:
        texts = []
        for field, value in zip(fields, row, strict=True):
            if value is None or value == "":
                continue
            if field.json:
                texts.append(f'"{field.tag:08X}":{value}')
            elif isinstance(value, int) and field.vr not in ("IS", "DS"):
                yield field.tag, Attribute(field.vr, (value,))
            else:
                yield field.tag, Attribute(field.vr, (str(value),))
        for tag, attribute in from_json(f"{{{','.join(texts)}}}").items() if texts else ():
            yield tag, _reduced(attribute, self._asked.items.get(tag))


def _reduced(sequence: Attribute, wanted: frozenset[int] | None) -> Attribute:
    """A sequence whose items have the requested attributes only, known or not (PS3.4 C.2.2.2.6)."""
    if wanted is None:
        return sequence
    items = []
    for item in sequence.values:
        if isinstance(item, DataSet):
            reduced = DataSet()
            for tag in wanted:
                if tag in item:
                    reduced[tag] = item[tag]
                else:
                    reduced.put(tag)
            items.append(reduced)
    return Attribute(sequence.vr, tuple(items))


def _response(request: Request, code: int) -> CFindRsp:
    return CFindRsp(request.command.message_id, code, affected_sop_class_uid=request.context.abstract_syntax)


def _refuse(request: Request, code: int, comment: str, offending: tuple[int, ...] = ()) -> None:
    log.warning(
        "query refused",
        association=request.association.id,
        peer=request.association.peer,
        calling_ae_title=printable(request.association.calling_ae_title),
        status=status.words(status.FIND, code),
        reason=printable(comment),
    )
    request.respond(
        CFindRsp(
            request.command.message_id,
            code,
            affected_sop_class_uid=request.context.abstract_syntax,
            error_comment=comment,
            offending_element=offending,
        )
    )
