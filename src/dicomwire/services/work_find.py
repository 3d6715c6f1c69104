"""C-FIND on a table of work, SCP: worklists of both kinds (PS3.4 K.4.1, CC.2.8; PS3.7 9.1.2).

Every attribute of the Identifier may be a key, within sequences too, and every one comes back, empty where a
row has none. Text is written in the character set that the request names, else in the one configured for the
peer, else in the row's own; a character that it lacks becomes "?".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

import structlog

from dicomwire.archive.moments import TIMEZONE
from dicomwire.archive.query import Match, Query
from dicomwire.association.performer import Request, Service, Sink
from dicomwire.dicom.charset import defined
from dicomwire.dicom.data_set import Attribute, DataSet, decode, encode, from_object
from dicomwire.dicom.dictionary import vr_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dicom.json_decode import load
from dicomwire.dimse import status
from dicomwire.errors import DataSetError, InvalidAttribute, QueryError, SearchError, WorkError
from dicomwire.services import find
from dicomwire.services.find_request import Agreed, Unfit, agreed, keys_in
from dicomwire.services.identifier import LIMIT, Collector
from dicomwire.work.matching import Selection, query_of, search, texts
from dicomwire.work.store import DatabaseError, Store

_PAGE: Final = 100  # rows read at once
_TOGETHER: Final = 16  # answers written in one go, and between two looks at a C-CANCEL

Select: TypeAlias = Callable[[Query, Request], Selection]
"""How a query is run for a request. Raises: QueryError."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a C-FIND looks in.

    Attributes:
        columns: SQL of a row's DICOM JSON object, and of its Specific Character Set.
        no_keys: tags that are neither matched nor returned.
        hidden: tags that rows keep to themselves.
    """

    store: Store
    select: Select
    columns: str
    no_keys: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()


def service(finding: Finding) -> Service:
    """The SCP of a C-FIND."""

    def begin(request: Request) -> Sink:
        return Collector(partial(_perform, finding, request))

    return begin


async def _perform(finding: Finding, request: Request, data: bytes | None) -> None:
    association, context = request.association, request.context
    try:
        if data is None:
            raise SearchError(f"Identifier has more than {LIMIT >> 20} MiB")
        identifier = _read(data, request)
        keys = _without(identifier, finding)
        agreement = agreed(association.agreement.extended_negotiation.get(context.abstract_syntax, b""))
        query = _query(keys, agreement)
        selection = finding.select(query, request)
        ids = await _found(finding, selection, query, _PAGE)
    except (DataSetError, InvalidAttribute) as error:
        find.refuse(request, status.UNABLE_TO_PROCESS, f"Identifier: {error}")
        return
    except (SearchError, WorkError, DatabaseError) as error:
        find.refuse(request, status.OUT_OF_RESOURCES, str(error))
        return
    except QueryError as error:
        offending = (error.tag,) if isinstance(error, Unfit) else ()
        find.refuse(request, status.IDENTIFIER_DOES_NOT_MATCH, str(error), offending)
        return
    asked = defined("\\".join(identifier.texts(SPECIFIC_CHARACTER_SET))) or association.character_set or None
    matches = await _send(finding, request, selection, ids, keys, asked)
    if len(ids) == _PAGE and not request.cancelled:
        first = frozenset(ids)
        try:
            rest = [each for each in await _found(finding, selection, query) if each not in first]
        except (WorkError, DatabaseError) as error:
            find.refuse(request, status.OUT_OF_RESOURCES, str(error))
            return
        for at in range(0, len(rest), _PAGE):
            if request.cancelled:
                break
            matches += await _send(finding, request, selection, rest[at : at + _PAGE], keys, asked)
    ended = status.CANCEL if request.cancelled else status.SUCCESS
    log.debug(
        "worklist query answered",
        association=association.id,
        keys=len(keys),
        matches=matches,
        status=status.words(status.FIND, ended),
    )
    if not request.answered:
        request.respond(find.final(request, ended))


async def _found(finding: Finding, selection: Selection, query: Query, limit: int | None = None) -> list[int]:
    """Ids of the matches, of the first of them alone: who asks for very many need not wait for all."""
    limited = replace(query, limit=limit)
    return await finding.store.beside(lambda: search(finding.store, selection, limited))


async def _send(
    finding: Finding,
    request: Request,
    selection: Selection,
    ids: Sequence[int],
    keys: DataSet,
    asked: str | None,
) -> int:
    """Send one page of matches; how many have gone."""
    rows = texts(finding.store, selection.table, ids, finding.columns)
    pending = find.pending(request, status.PENDING)
    sent = 0
    for at in range(0, len(rows), _TOGETHER):
        if request.cancelled:
            break
        together = []
        for content, term in rows[at : at + _TOGETHER]:
            answer = projected(_asked(str(content), keys), keys)
            character_set = asked if asked is not None else str(term)
            encoded = encode(
                answer, request.context.transfer_syntax, character_set=character_set, substitute=True
            )
            together.append((pending, [memoryview(encoded)]))
        await request.send_all(together, None)
        sent += len(together)
    return sent


def _asked(content: str, keys: DataSet) -> DataSet:
    """Of a row's DICOM JSON object what keys name, before the rest has cost anything."""
    found = load(content)
    assert isinstance(found, dict)
    return from_object({name: found[name] for tag in keys if (name := f"{tag:08X}") in found})


def projected(row: DataSet, keys: DataSet) -> DataSet:
    """The attributes of a row that keys ask for; of a sequence whose key has no item, all (PS3.4 C.2.2.1)."""
    answer = DataSet()
    for tag, key in keys.items():
        found = row.get(tag)
        if found is None:
            answer[tag] = Attribute(key.vr if key.vr != "UN" else vr_of(tag)[:2])
            continue
        wanted = next(iter(keys.sequence(tag)), None) if key.vr == "SQ" else None
        if wanted and found.vr == "SQ":
            found = Attribute("SQ", tuple(projected(item, wanted) for item in row.sequence(tag)))
        answer[tag] = found
    return answer


def keys_of(identifier: DataSet) -> list[Match]:
    """The keys of an Identifier. Raises: Unfit, for a sequence of several items."""
    return [match for tag, attribute in identifier.items() for match in keys_in((tag,), attribute)]


def _query(keys: DataSet, agreement: Agreed) -> Query:
    return query_of(keys_of(keys), fuzzy=agreement.fuzzy, empty_values=True, all_values=agreement.all_values)


def _read(data: bytes, request: Request) -> DataSet:
    """The Identifier; where it names no character set, in the one configured for the peer."""
    context, configured = request.context, request.association.character_set
    identifier = decode(data, context.transfer_syntax)
    if not configured or identifier.has_value(SPECIFIC_CHARACTER_SET):
        return identifier
    own = DataSet().put(SPECIFIC_CHARACTER_SET, *configured.split("\\"))
    named = encode(own, context.transfer_syntax, character_set=configured, substitute=True)
    identifier = decode(named + data, context.transfer_syntax)
    identifier.pop(SPECIFIC_CHARACTER_SET, None)
    return identifier


def _without(identifier: DataSet, finding: Finding) -> DataSet:
    """What is matched and returned: no group lengths, nothing that is no key."""
    no_keys = finding.no_keys | finding.hidden | {SPECIFIC_CHARACTER_SET, TIMEZONE}
    return DataSet(
        {tag: attribute for tag, attribute in identifier.items() if tag & 0xFFFF and tag not in no_keys}
    )
