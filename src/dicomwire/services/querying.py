"""Query: C-FIND as SCU (PS3.4 C.4.1, K.4.1; PS3.7 9.1.2). The SCP is `find`.

Answers come as they arrive; reading pauses while nobody takes them. A limit, or leaving early, sends
C-CANCEL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from dicomwire.association.association import Association
from dicomwire.association.invoker import Response
from dicomwire.dicom import identifier, json_model
from dicomwire.dicom.dictionary import keyword_of, tag_text
from dicomwire.dicom.identifier import Key, Path
from dicomwire.dimse import status
from dicomwire.dimse.command import CFindRq, Priority
from dicomwire.dimse.status import StatusClass
from dicomwire.errors import NoAcceptedContext, OperationFailed
from dicomwire.services import models
from dicomwire.services.models import Level, Root
from dicomwire.uids import name_of
from dicomwire.upper_layer.negotiation import AcceptedContext


@dataclass(frozen=True, slots=True)
class Match:
    """One answer to a query.

    Attributes:
        data: its data set.
        transfer_syntax_uid: in which that is written.
        status: FF00H, or FF01H where the peer did not support every optional key.
    """

    data: bytes
    transfer_syntax_uid: str
    status: int = status.PENDING

    def values(self) -> Mapping[Path, tuple[str, ...]]:
        """Text of each element's values by path.

        Raises: DataSetError, when the peer's data set cannot be read.
        """
        return identifier.values(self.data, self.transfer_syntax_uid)

    def json(self) -> bytes:
        """The data set in the DICOM JSON Model (PS3.18 F).

        Raises: DataSetError, when the peer's data set cannot be read.
        """
        return json_model.encode(self.data, self.transfer_syntax_uid, bulk_data_uri=None)


async def find(
    association: Association,
    sop_class_uid: str,
    keys: Iterable[Key],
    *,
    limit: int | None = None,
    enough: Callable[[], bool] | None = None,
    priority: int = Priority.MEDIUM,
    character_set: str | None = None,
) -> AsyncGenerator[Match, None]:
    """Query a peer and yield what matches.

    Args:
        sop_class_uid: of the information model, see `models.Root`.
        keys: the whole identifier, see `models.query`.
        limit: most matches; behind them C-CANCEL is sent.
        enough: asked behind each match, whether C-CANCEL is sent now.
        character_set: Specific Character Set of the identifier's text; None chooses.

    Raises: QueryError, when a key cannot be written; NoAcceptedContext; OperationFailed, when the peer
        answers with a failure; AssociationError, when the association ends before its answer.
    """
    context = context_of(association, sop_class_uid)
    data = identifier.encode(keys, context.transfer_syntax, character_set_name=character_set)
    command = CFindRq(association.next_message_id(), sop_class_uid, priority)
    count = 0
    answers = association.requests(context.presentation_context_id, command, (data,))
    async with aclosing(answers):
        async for response in answers:
            if not response.pending:
                judge(response, status.FIND)
                return
            if response.data is None:
                continue  # a match that says nothing
            count += 1
            yield Match(response.data, context.transfer_syntax, response.status)
            if count == limit or (enough is not None and enough()):
                association.cancel(command.message_id)
                await _drain(answers, association.timeouts.dimse)
                return


async def named(
    association: Association, keys: Sequence[Key], root: Root, level: Level | None
) -> list[tuple[Key, ...]]:
    """Identifiers to retrieve what keys match: what has other keys than unique ones is queried first.

    Raises: as `find`; QueryError, when the model has no such level.
    """
    if models.names_all(keys, root):
        return [models.retrieval(keys, root, level)]
    level = models.level_of(keys, root) if level is None else level
    wanted = models.query([*keys, Key((models.UNIQUE_KEYS[level],))], root, level)
    unique = [(models.UNIQUE_KEYS[each],) for each in root.value.levels if each <= level]
    found: dict[tuple[Key, ...], None] = {}
    async with aclosing(find(association, root.value.find, wanted)) as matches:
        async for match in matches:
            values = match.values()
            names = [Key(path, "\\".join(values.get(path, ())), given=True) for path in unique]
            found[models.retrieval(names, root, level)] = None
    return list(found)


async def _drain(answers: AsyncGenerator[Response, None], seconds: float) -> None:
    """Take what was on its way when the C-CANCEL went out, up to the final answer."""
    try:
        async with asyncio.timeout(seconds):
            async for _ in answers:
                pass
    except TimeoutError:
        return  # whoever goes on sending matches is not waited for


def context_of(association: Association, sop_class_uid: str) -> AcceptedContext:
    """The presentation context of a SOP class that we use as SCU.

    Raises: NoAcceptedContext, with the peer's reason.
    """
    for context in association.contexts_for(sop_class_uid):
        if context.scu_role:
            return context
    name = name_of(sop_class_uid)
    because = [words for words in association.agreement.refused if words.startswith(name)]
    raise NoAcceptedContext(
        f"the peer does not offer {name}{f': {because[0]}' if because else ''}", tuple(because)
    )


def judge(response: Response, service: str) -> None:
    """Nothing, for a final answer that is no failure.

    Args:
        service: whose status codes they are, a name of `status.SERVICES`.

    Raises: OperationFailed, with the status's words, the peer's comment and the elements it blames.
    """
    command = response.command
    if status.status_class(service, command.status) is not StatusClass.FAILURE:
        return
    words = [status.words(service, command.status)]
    if command.error_comment:
        words.append(command.error_comment)
    if command.offending_element:
        tags = command.offending_element
        words.append(f"offending: {', '.join(f'{keyword_of(t)} {tag_text(t)}'.strip() for t in tags)}")
    raise OperationFailed(
        ": ".join(words),
        status=command.status,
        comment=command.error_comment or "",
        offending_element=command.offending_element,
    )
