"""What a peer really accepts: every SOP class and transfer syntax, asked for in batches (PS3.8 9.3.2.2).

One context of each batch is Verification's, so that a peer that rejects an association without any accepted
context still tells its reasons for the others. First every SOP class with a few transfer syntaxes, then every
transfer syntax alone of those that the peer knows: a few dozen associations, one after the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dicomwire.association.requestor import MOST_CONTEXTS, Context
from dicomwire.diagnose.finding import ContextLine
from dicomwire.doctor.attempt import Attempt
from dicomwire.doctor.variants import VERIFICATION_ALONE
from dicomwire.uids import (
    SOP_CLASSES,
    STORAGE_TRANSFER_SYNTAXES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    VERIFICATION,
    name_of,
)
from dicomwire.upper_layer.items import ContextResultCode

BATCH: Final = MOST_CONTEXTS - 1
MOST_REFUSALS: Final = 2  # batches in a row that fail as a whole before the rest is left out

# Uncompressed; JPEG baseline and lossless, JPEG 2000 lossless; MPEG2 and MPEG-4: what classes are known by.
KNOWN_BY: Final = (
    *UNCOMPRESSED_TRANSFER_SYNTAXES,
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 70, 90, 100, 102)),
)
_ACCEPTED: Final = int(ContextResultCode.ACCEPTANCE)
_ABSTRACT: Final = int(ContextResultCode.ABSTRACT_SYNTAX_NOT_SUPPORTED)
_SYNTAX: Final = int(ContextResultCode.TRANSFER_SYNTAXES_NOT_SUPPORTED)

Ask = Callable[[tuple[Context, ...]], Awaitable[Attempt]]


@dataclass(frozen=True, slots=True)
class Row:
    """One SOP class.

    Attributes:
        abstract_syntax: its UID.
        accepted: UIDs of the transfer syntaxes that the peer takes for it.
        refused: those that it does not take.
        words: why the class as a whole is refused, "" where it is not.
        unknown: transfer syntaxes that were asked for with a class that is refused as a whole.
    """

    abstract_syntax: str
    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    words: str = ""
    unknown: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {
            "sop_class": self.abstract_syntax,
            "name": name_of(self.abstract_syntax),
            "accepted": list(self.accepted),
            "refused": list(self.refused),
            "words": self.words,
        }


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a peer accepts.

    Attributes:
        rows: a SOP class each, in the order of PS3.6.
        associations: how many it took to find out.
        incomplete: why not everything could be asked, "" where it could.
    """

    rows: tuple[Row, ...]
    associations: int
    incomplete: str = ""

    @property
    def supported(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.accepted)

    def as_json(self) -> dict[str, object]:
        return {
            "associations": self.associations,
            "incomplete": self.incomplete,
            "sop_classes": [row.as_json() for row in self.rows],
        }

    def contexts(self) -> list[dict[str, object]]:
        """Every SOP class with every transfer syntax that was asked for, as `compare` reads it."""
        return [
            {"abstract_syntax": row.abstract_syntax, "transfer_syntax": uid, "result": result}
            for row in self.rows
            for uids, result in ((row.accepted, _ACCEPTED), (row.refused, _SYNTAX), (row.unknown, _ABSTRACT))
            for uid in uids
        ]


async def find_out(ask: Ask, sop_classes: Sequence[str] = ()) -> Matrix:
    """Ask for everything.

    Args:
        ask: requests an association with these contexts, Verification's among them.
        sop_classes: UIDs; all registered ones where there are none.
    """
    asker = _Asker(ask)
    uids = [uid for uid in sop_classes or SOP_CLASSES if uid != VERIFICATION]
    classes = await asker.ask_all(Context(uid, _first_syntaxes(uid)) for uid in (VERIFICATION, *uids))
    known = [line.abstract_syntax for line in classes if line.result in (_ACCEPTED, _SYNTAX)]
    singles = await asker.ask_all(Context(uid, (syntax,)) for uid in known for syntax in _all_syntaxes(uid))
    rows = _rows(classes, singles)
    return Matrix(rows, asker.associations, asker.incomplete)


def _first_syntaxes(uid: str) -> tuple[str, ...]:
    return KNOWN_BY if SOP_CLASSES.get(uid) is None or SOP_CLASSES[uid].storage else _all_syntaxes(uid)


def _all_syntaxes(uid: str) -> tuple[str, ...]:
    row = SOP_CLASSES.get(uid)
    return STORAGE_TRANSFER_SYNTAXES if row is None or row.storage else UNCOMPRESSED_TRANSFER_SYNTAXES


class _Asker:
    """Asks in batches, and stops when the peer has had enough."""

    def __init__(self, ask: Ask) -> None:
        self.associations = 0
        self.incomplete = ""
        self._ask = ask
        self._refusals = 0

    async def ask_all(self, contexts: Iterable[Context]) -> list[ContextLine]:
        wanted = list(contexts)
        lines: list[ContextLine] = []
        for start in range(0, len(wanted), BATCH):
            batch = (*VERIFICATION_ALONE, *wanted[start : start + BATCH])
            if self._refusals >= MOST_REFUSALS:
                break
            self.associations += 1
            attempt = await self._ask(batch)
            answered = attempt.story.negotiation if attempt.story else ()
            if any(line.result is not None for line in answered):
                self._refusals = 0
                lines += answered[1:]
                continue
            self._refusals += 1
            words = attempt.finding.summary if attempt.finding else "no answer"
            self.incomplete = f"association {self.associations} with {len(batch)} contexts: {words}"
        return lines


def _rows(classes: list[ContextLine], singles: list[ContextLine]) -> tuple[Row, ...]:
    accepted: dict[str, list[str]] = {}
    refused: dict[str, list[str]] = {}
    for line in singles:
        into = accepted if line.transfer_syntax else refused
        into.setdefault(line.abstract_syntax, []).append(line.transfer_syntaxes[0])
    rows = []
    for line in classes:
        uid = line.abstract_syntax
        taken = tuple(accepted.get(uid, ())) or ((line.transfer_syntax,) if line.transfer_syntax else ())
        words = "" if taken else line.words
        unknown = () if taken or uid in refused else line.transfer_syntaxes
        rows.append(Row(uid, taken, tuple(refused.get(uid, ())), words, unknown))
    return tuple(rows)
