"""QIDO-RS in front of a DIMSE archive: a search becomes C-FINDs (PS3.18 10.6, PS3.4 C.4.1).

A peer that agreed to relational queries is asked once. Any other is asked level by level, from the study
down, as the hierarchy wants it (PS3.4 C.4.1.2.2); what the levels say of a match is put together. A peer that
answers an entity more than once, as pynetdicom 3.0's qrscp does for each of its instances, is heard once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.moments import TIMEZONE
from dicomwire.archive.query import Level, level_of
from dicomwire.dicom import xml_model
from dicomwire.dicom.dictionary import TAGS, vr_of
from dicomwire.dicom.identifier import Key, Path
from dicomwire.dicom.indexed import SPECIFIC_CHARACTER_SET
from dicomwire.dimse import status
from dicomwire.errors import DataSetError, QueryError
from dicomwire.gateway.peer import Peer, Questions
from dicomwire.services import models
from dicomwire.services.querying import Match
from dicomwire.web.media_types import DICOM_XML, metadata_type_of
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem
from dicomwire.web.resources import base_url, instance_url, optional_uid, study_url
from dicomwire.web.search import levels_of, planned_of
from dicomwire.web.search_payload import REQUIRED, fields_of
from dicomwire.web.search_query import Asked, parse, scope_of
from dicomwire.web.warning import warning_header

Row: TypeAlias = Mapping[str, object]

MOST_PARENTS: Final = 500  # studies, and series, that a search goes down into
_MODEL_LEVELS: Final = {
    Level.STUDY: models.Level.STUDY,
    Level.SERIES: models.Level.SERIES,
    Level.INSTANCE: models.Level.IMAGE,
}
_UIDS: Final = {level: models.UNIQUE_KEYS[below] for level, below in _MODEL_LEVELS.items()}
_DROPPED: Final = ("00080052", "00080054")  # Query/Retrieve Level, Retrieve AE Title: of DIMSE only
_AVAILABILITY: Final = TAGS["InstanceAvailability"]
_URL: Final = "00081190"
_IGNORED: Final = "is not supported by the remote archive; it was ignored."
_UNANSWERED: Final = "is empty in answers of the remote archive; it may have ignored it."


@dataclass(slots=True)
class Answer:
    """What has been found, and what is to be said of it.

    Attributes:
        most: rows beyond which nothing more is asked for.
    """

    most: int
    rows: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _known: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def full(self) -> bool:
        """Nothing more is to be asked for."""
        return len(self.rows) >= self.most

    def take(self, row: Row) -> None:
        """Add an entity, unless it is there: its unique keys say which it is."""
        uids = tuple(_uid(row, level) for level in _UIDS)
        if uids not in self._known:
            self._known.add(uids)
            self.rows.append(row)

    def warn(self, text: str) -> None:
        """Say something, once."""
        if text not in self.warnings:
            self.warnings.append(text)


@dataclass(frozen=True, slots=True)
class Question:
    """A search as keys.

    Attributes:
        level: what each match stands for.
        top: the highest level whose attributes are in the answer.
        keys: of all levels.
    """

    level: Level
    top: Level
    keys: tuple[Key, ...]

    def at(self, level: Level) -> list[Key]:
        """The keys of one level; those of a patient go with the study."""
        return [key for key in self.keys if max(level_of(key.path) or level, Level.STUDY) is level]

    def skips(self, level: Level) -> bool:
        """Nothing is to be learned of a level: its unique key says which it is."""
        own = self.at(level)
        known = any(key.path == (_UIDS[level],) and _single(key.value) for key in own)
        return known and level < self.top and all(key.path == (_UIDS[level],) for key in own if key.value)


class Search:
    """Endpoint of GET on the resources of one level; UIDs in the path are keys."""

    def __init__(self, peer: Peer, options: WebOptions, level: Level) -> None:
        self._peer = peer
        self._options = options
        self._level = level

    async def __call__(self, request: Request) -> Response:
        content_type = metadata_type_of(request)
        study, series = optional_uid(request, "study"), optional_uid(request, "series")
        asked = parse(request.scope["query_string"], self._level, scope_of(study, series))
        levels = levels_of(self._level, study, series)
        planned_of(asked, self._level, levels, self._options)  # what cannot be does not go on
        base = base_url(request, self._options)
        cap = self._options.maximum_results
        limit = cap if asked.limit is None else min(asked.limit, cap)
        answer = Answer(asked.offset + limit + 1, warnings=list(asked.warnings))
        question = Question(self._level, levels[0], _keys(asked, self._level, levels))
        _warn_of_flags(asked, answer)
        try:
            async with self._peer.questions(fuzzy=asked.fuzzy, timezone=bool(asked.timezone)) as questions:
                if asked.fuzzy and not questions.agreed.fuzzy:
                    answer.warn("fuzzymatching is not supported. Only literal matching was performed.")
                if asked.timezone and not questions.agreed.timezone:
                    answer.warn("TimezoneOffsetFromUTC is matched as any other attribute.")
                if questions.agreed.relational:
                    await _ask(questions, question, answer)
                else:
                    await _descend(questions, question, answer)
        except QueryError as error:
            raise Problem(400, str(error)) from None
        if answer.full:
            answer.warn("There are additional results that can be requested.")
        headers = warning_header(answer.warnings)
        if not answer.full:
            headers["X-Total-Count"] = str(len(answer.rows))
        present = {tag for level in levels for tag in REQUIRED[level]} | asked.fields
        rows = [_finished(row, present, base) for row in answer.rows[asked.offset : asked.offset + limit]]
        return _response(rows, content_type, headers)


def _keys(asked: Asked, level: Level, levels: Sequence[Level]) -> tuple[Key, ...]:
    """Everything that is matched and everything that is wanted."""
    matched: dict[Path, str] = {}
    for match in asked.matches:
        value = match.value.replace(",", "\\") if vr_of(match.path[-1]) == "UI" else match.value
        if value != '""':
            matched[match.path] = value
    if asked.timezone:
        matched[TIMEZONE,] = asked.timezone
    keys = [Key(path, value, given=True) for path, value in matched.items()]
    there = {path[0] for path in matched}
    fields = (*fields_of(asked, level, levels), _AVAILABILITY)
    return (*keys, *(Key((tag,)) for tag in fields if tag not in there))


def _warn_of_flags(asked: Asked, answer: Answer) -> None:
    if asked.empty_values or any(match.value == '""' for match in asked.matches):
        answer.warn(f"Matching of empty values {_IGNORED}")
    if asked.all_values:
        answer.warn(f"multiplevaluematching {_IGNORED}")


async def _ask(questions: Questions, question: Question, answer: Answer) -> None:
    """All at once, where keys of all levels may stand in one identifier."""
    await _take_all(questions, question.keys, question.level, {}, answer)


async def _descend(
    questions: Questions,
    question: Question,
    answer: Answer,
    *,
    above: Row | None = None,
    level: Level = Level.STUDY,
) -> None:
    """Level by level; each study, then each series, is gone into.

    above: what is known of the levels above this one.
    """
    above = above or {}
    named = [
        Key((_UIDS[each],), _uid(above, each), given=True) for each in Level if Level.STUDY <= each < level
    ]
    if level < question.level and question.skips(level):
        (uid,) = (key.value for key in question.at(level) if key.path == (_UIDS[level],))
        known = {**above, f"{_UIDS[level]:08X}": {"vr": "UI", "Value": [uid]}}
        await _descend(questions, question, answer, above=known, level=Level(level + 1))
        return
    own = [key for key in question.at(level) if key.path not in [each.path for each in named]]
    if not any(key.path == (_UIDS[level],) for key in own):
        own.append(Key((_UIDS[level],)))
    found = Answer(MOST_PARENTS + 1)
    last = level is question.level
    await _take_all(questions, (*named, *own), level, above, answer if last else found)
    if found.full:
        what = "studies" if level is Level.STUDY else "series of one study"
        raise Problem(413, f"this would have to look into more than {MOST_PARENTS} {what}; name one")
    for each in found.warnings:
        answer.warn(each)
    for row in found.rows:
        if not answer.full:
            await _descend(questions, question, answer, above=row, level=Level(level + 1))


async def _take_all(
    questions: Questions, keys: Sequence[Key], level: Level, above: Row, answer: Answer
) -> None:
    """Ask at one level, until the answer is full."""
    matched = [key for key in keys if _selects(key)]
    matches = questions.find(keys, _MODEL_LEVELS[level], lambda: answer.full)
    async with aclosing(matches):
        async for match in matches:
            _take(match, level, above, matched, answer)


def _take(match: Match, level: Level, above: Row, matched: Sequence[Key], answer: Answer) -> None:
    """Read a match; one without its UID, or that cannot be read, is left out, which is said.

    matched: what it has a value of, unless the archive ignores it: dcmqrscp does so with all that it does not
    know, and calls the answer a match of everything (FF00H, not FF01H).
    """
    try:
        row: dict[str, object] = {**above, **json.loads(match.json())}
    except (DataSetError, ValueError):
        answer.warn("A match that cannot be read was left out.")
        return
    if match.status == status.PENDING_WARNING:
        answer.warn("The remote archive does not support every attribute that was matched.")
    if not _uid(row, level):
        answer.warn("A match without its UID was left out.")
        return
    for key in matched:
        if not _values(row, key.path[0]):
            answer.warn(f"{key.name} {_UNANSWERED}")
    answer.take(row)


def _selects(key: Key) -> bool:
    """Whether what matches has a value of it: not with an empty key or `*`, which match everything."""
    return len(key.path) == 1 and key.path != (TIMEZONE,) and bool(key.value.strip("*"))


def _values(row: Row, tag: int) -> list[object]:
    element = row.get(f"{tag:08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _uid(row: Row, level: Level) -> str:
    return str((_values(row, _UIDS[level]) or [""])[0])


def _single(value: str) -> bool:
    return bool(value) and not set("*?\\") & set(value)


def _finished(row: Row, present: set[int], base: str) -> bytes:
    """A match as PS3.18 10.6.3.3 wants it, elements ascending."""
    members = {tag: value for tag, value in row.items() if tag not in _DROPPED}
    for tag in present - {SPECIFIC_CHARACTER_SET}:
        members.setdefault(f"{tag:08X}", {"vr": vr_of(tag).split(" ")[0]})
    availability = f"{_AVAILABILITY:08X}"
    if "Value" not in json.dumps(members.get(availability, {})):
        members[availability] = {"vr": "CS", "Value": ["ONLINE"]}
    members[_URL] = {"vr": "UR", "Value": [_url(row, base)]}
    return json.dumps(dict(sorted(members.items())), ensure_ascii=False, separators=(",", ":")).encode()


def _url(row: Row, base: str) -> str:
    study, series, instance = (_uid(row, level) for level in _UIDS)
    if instance and series:
        return instance_url(base, study=study, series=series, instance=instance)
    return f"{study_url(base, study)}/series/{series}" if series else study_url(base, study)


def _response(rows: Sequence[bytes], content_type: str, headers: Mapping[str, str]) -> Response:
    if not rows:
        return Response(status_code=204, headers=headers)
    if content_type != DICOM_XML:
        return Response(b"[" + b",".join(rows) + b"]", 200, headers, content_type)
    writer = PartWriter(DICOM_XML)
    body = b"".join(writer.part(DICOM_XML, xml_model.encode(row)) for row in rows) + writer.tail
    return Response(body, 200, headers, writer.content_type)
