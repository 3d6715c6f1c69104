"""C-FIND in front of a DICOMweb service: a query becomes QIDO-RS (PS3.4 C.4.1, PS3.18 10.6).

Matches are answered as their page arrives; a C-CANCEL ends them, and the wait for a page, at once. Patients,
which QIDO-RS does not know, are those of the studies that match.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from typing import Final

from dicomwire.archive.query import Level, Match, Query
from dicomwire.association.performer import Request, Services, Sink
from dicomwire.dicom.data_set import DataSet, encode, from_json
from dicomwire.dicom.dictionary import TAGS, keyword_of, vr_of
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dimse import status
from dicomwire.dimse.command import CFindRq
from dicomwire.errors import DataSetError, InvalidAttribute, QueryError, SearchError
from dicomwire.gateway.cancelling import until_cancelled
from dicomwire.gateway.failures import RemoteFailed
from dicomwire.gateway.service import Service
from dicomwire.services.find import FIND, final, pending, refuse, understood
from dicomwire.services.find_answer import reduced
from dicomwire.services.find_request import (
    LEVEL_NAMES,
    QUERY_RETRIEVE_LEVEL,
    RETRIEVE_AE_TITLE,
    Asked,
    Unfit,
)
from dicomwire.services.identifier import Collector

STUDY_UID: Final = TAGS["StudyInstanceUID"]
SERIES_UID: Final = TAGS["SeriesInstanceUID"]
PATIENT_ID: Final = TAGS["PatientID"]
_UNWANTED: Final = frozenset({SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE})


def services(service: Service) -> Services:
    """The C-FIND SCP of every information model."""
    return {(sop_class_uid, CFindRq): partial(find, service) for sop_class_uid in FIND}


def find(service: Service, request: Request) -> Sink:
    """Begin a C-FIND: its Identifier follows."""
    return Collector(partial(_perform, service, request))


async def _perform(service: Service, request: Request, data: bytes | None) -> None:
    try:
        asked = understood(request, data)
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
    try:
        await _answer(service, request, asked)
    except RemoteFailed as error:
        refuse(request, status.OUT_OF_RESOURCES if error.away else status.UNABLE_TO_PROCESS, str(error))
    except InvalidAttribute as error:
        refuse(request, status.UNABLE_TO_PROCESS, f"{service.name} answered what cannot be: {error}")


async def _answer(service: Service, request: Request, asked: Asked) -> None:
    """Every match, then the end."""
    path, matches = target(asked.query)
    fields = [keyword_of(tag) or f"{tag:08X}" for tag in asked.returned if tag not in _UNWANTED]
    code = status.PENDING_WARNING if asked.unsupported else status.PENDING
    patients: set[str] | None = set() if asked.query.level is Level.PATIENT else None
    found = service.search(path, matches, fields, fuzzy=asked.query.fuzzy)
    async with aclosing(found), aclosing(until_cancelled(request, found)) as rows:
        async for row in rows:
            match = from_json(json.dumps(row))
            if patients is not None:
                patient = match.text(PATIENT_ID)
                if patient in patients:
                    continue
                patients.add(patient)
            await request.send(pending(request, code), [_encoded(match, asked, request)])
    request.respond(final(request, status.CANCEL if request.cancelled else status.SUCCESS))


def target(query: Query) -> tuple[str, Mapping[str, str]]:
    """Path and query parameters of the search that a query is at a DICOMweb service."""
    values = {match.path: match.value for match in query.matches}
    study, series = _single(values.get((STUDY_UID,))), _single(values.get((SERIES_UID,)))
    path = "studies"
    named: set[int] = set()
    if query.level >= Level.SERIES:
        path = f"studies/{study}/series" if study else "series"
        named = {STUDY_UID} if study else set()
    if query.level is Level.INSTANCE:
        path = f"studies/{study}/instances" if study else "instances"
        if study and series:
            path, named = f"studies/{study}/series/{series}/instances", {STUDY_UID, SERIES_UID}
    return path, dict(_parameter(match) for match in query.matches if match.path[0] not in named)


def _parameter(match: Match) -> tuple[str, str]:
    name = ".".join(keyword_of(tag) or f"{tag:08X}" for tag in match.path)
    return name, match.value.replace("\\", ",") if vr_of(match.path[-1]) == "UI" else match.value


def _single(value: str | None) -> str:
    return value if value and not set("*?\\") & set(value) else ""


def _encoded(match: DataSet, asked: Asked, request: Request) -> bytes:
    """A match with what was asked for and nothing else."""
    answer = DataSet()
    for tag in asked.returned:
        if tag in match:
            answer[tag] = reduced(match[tag], asked.items.get(tag))
        else:
            answer.put(tag)
    if asked.query.level > Level.STUDY and not answer.has_value(STUDY_UID):
        for each in asked.query.matches:
            if each.path == (STUDY_UID,) and _single(each.value):
                answer.put(STUDY_UID, each.value)
            if each.path == (SERIES_UID,) and _single(each.value) and not answer.has_value(SERIES_UID):
                answer.put(SERIES_UID, each.value)
    answer.put(QUERY_RETRIEVE_LEVEL, LEVEL_NAMES[asked.query.level])
    answer.put(RETRIEVE_AE_TITLE, request.association.called_ae_title)
    term = asked.character_set or request.association.character_set
    if not term:
        answer.put(SPECIFIC_CHARACTER_SET, "ISO_IR 192")
    return encode(answer, request.context.transfer_syntax, character_set=term or None, substitute=bool(term))
