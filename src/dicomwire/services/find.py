"""C-FIND of Query/Retrieve, SCP: matches stream from the catalogue to the wire (PS3.4 C.4.1, PS3.7 9.1.2).

The first answers go out before the last match is known, no more are held than one page, and a C-CANCEL ends
them. Text is written in the character set that the request names, else in the one configured for the peer,
else in the study's own; a character that it lacks becomes "?".
"""

from __future__ import annotations

from functools import partial
from typing import Final

import structlog

from dicomwire.archive.archive import Archive
from dicomwire.archive.search import Pages
from dicomwire.archive.statement import plan
from dicomwire.association.performer import Request, Services, Sink
from dicomwire.association.words import printable
from dicomwire.dicom.charset import defined
from dicomwire.dicom.data_set import UTF_8, DataSet, decode, encode
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.scan import scan
from dicomwire.dimse import status
from dicomwire.dimse.command import CFindRq, CFindRsp
from dicomwire.errors import DataSetError, InvalidAttribute, QueryError, SearchError
from dicomwire.services.find_answer import Answers
from dicomwire.services.find_request import (
    LEVEL_NAMES,
    Asked,
    Unfit,
    agreed,
    answered,
    read,
)
from dicomwire.services.identifier import LIMIT, Collector
from dicomwire.services.models import Root

__all__ = ["FIND", "answered", "final", "pending", "refuse", "services", "understood"]

FIND: Final = {root.value.find: root for root in Root if root.value.levels}
"""Information models by the SOP class that finds in them."""

_TOGETHER: Final = 16  # answers written in one go, and between two looks at a C-CANCEL

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
    try:
        asked = understood(request, data)
        planned = plan(asked.query)
    except (DataSetError, InvalidAttribute) as error:
        refuse(request, status.UNABLE_TO_PROCESS, f"Identifier: {error}")
        return
    except SearchError as error:
        refuse(request, status.OUT_OF_RESOURCES, str(error))
        return
    except QueryError as error:
        offending = (error.tag,) if isinstance(error, Unfit) else ()
        refuse(request, status.IDENTIFIER_DOES_NOT_MATCH, str(error), offending)
        return
    called = request.association.called_ae_title
    answers = Answers(
        asked,
        planned,
        called if called in ae_titles else ae_titles[0],
        term=defined(asked.character_set) or request.association.character_set or None,
        transfer_syntax_uid=request.context.transfer_syntax,
    )
    code = status.PENDING_WARNING if asked.unsupported else status.PENDING
    pages = archive.searches.pages(planned, lambda: request.cancelled)
    try:
        matches = await _stream(request, pages, answers, pending(request, code))
    except SearchError as error:
        refuse(request, status.OUT_OF_RESOURCES, str(error))
        return
    end = status.CANCEL if request.cancelled else status.SUCCESS
    log.debug(
        "query answered",
        association=request.association.id,
        level=LEVEL_NAMES[asked.query.level],
        keys=len(asked.query.matches),
        matches=matches,
        status=status.words(status.FIND, end),
    )
    if not request.answered:
        request.respond(final(request, end))


async def _stream(request: Request, pages: Pages, answers: Answers, pending: CFindRsp) -> int:
    """Answer with the matches; the final answer goes with the last of them. Returns: how many there were.

    Raises: SearchError, when the search is given up.
    """
    matches = 0
    while not (pages.finished or request.cancelled):
        page = await pages.next()
        for at in range(0, len(page), _TOGETHER):
            if request.cancelled:
                break
            together = page[at : at + _TOGETHER]
            matches += len(together)
            sent = [(pending, [answers.encode(found)]) for found in together]
            last = pages.finished and at + _TOGETHER >= len(page)
            await request.send_all(sent, final(request, status.SUCCESS) if last else None)
    return matches


def understood(request: Request, data: bytes | None) -> Asked:
    """The query that a request stands for. Raises: what makes it none."""
    if data is None:
        raise SearchError(f"Identifier has more than {LIMIT >> 20} MiB")
    context, association = request.context, request.association
    identifier = _decoded(data, context.transfer_syntax)
    if association.character_set and SPECIFIC_CHARACTER_SET not in identifier:
        own = DataSet().put(SPECIFIC_CHARACTER_SET, *association.character_set.split("\\"))
        named = encode(own, context.transfer_syntax, character_set=association.character_set, substitute=True)
        identifier = _decoded(named + data, context.transfer_syntax)
        identifier.pop(SPECIFIC_CHARACTER_SET, None)
    negotiated = association.agreement.extended_negotiation.get(context.abstract_syntax, b"")
    return read(identifier, FIND[context.abstract_syntax], agreed(negotiated))


def _decoded(data: bytes, transfer_syntax_uid: str) -> DataSet:
    """An Identifier; Specific Character Set is in it only where it was sent."""
    identifier = decode(data, transfer_syntax_uid)
    if identifier.texts(SPECIFIC_CHARACTER_SET) == (UTF_8,):  # so the value model names Unicode, too
        sent = scan(data, transfer_syntax_uid).values
        if not sent.get(SPECIFIC_CHARACTER_SET):
            del identifier[SPECIFIC_CHARACTER_SET]
    return identifier


def final(request: Request, code: int) -> CFindRsp:
    """The last answer."""
    return CFindRsp(request.command.message_id, code, affected_sop_class_uid=request.context.abstract_syntax)


def pending(request: Request, code: int) -> CFindRsp:
    """What goes with each match."""
    uid = request.context.abstract_syntax
    return CFindRsp(request.command.message_id, code, affected_sop_class_uid=uid, data_set=True)


def refuse(request: Request, code: int, comment: str, offending: tuple[int, ...] = ()) -> None:
    """Answer with a failure, and say so in the log."""
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
