"""What `dicomwire archive import` reads, and what became of each file."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from dicomwire.archive.archive import Archive
from dicomwire.archive.exchange import listed, take
from dicomwire.archive.values import Outcome, Verdict
from dicomwire.cli.output import escaped, say, show_json, size
from dicomwire.cli.summary import FOREIGN
from dicomwire.errors import DecodeError
from dicomwire.services.instances import Instance, Skipped, read_file, walk

KEPT = (Verdict.STORED, Verdict.ALREADY_STORED, Verdict.REPLACED, Verdict.CONFLICT)
DICOMDIR = "a DICOMDIR"  # how the reason of `read_file` begins


class Intake:
    """Files on their way into the archive, read one by one while those before them are being stored.

    Attributes:
        counts: how many files had which fate.
        told: file, fate and reason of every file that is not plainly stored.
        bytes: of the data sets that are stored now and were not before.
    """

    def __init__(self, paths: Iterable[Path], *, quiet: bool) -> None:
        """quiet: what goes wrong is not said on stderr as it happens."""
        self.counts: Counter[str] = Counter()
        self.told: list[dict[str, str]] = []
        self.bytes = 0
        self._complete = True
        self._paths = list(paths)
        self._named = {str(path) for path in paths}
        self._quiet = quiet
        self._under_way: dict[int, Instance] = {}

    @property
    def complete(self) -> bool:
        """Whether there was something to store, and all of it is stored."""
        return self._complete and any(self.counts[_words(verdict)] for verdict in KEPT)

    async def run(self, archive: Archive) -> None:
        """Store all there is; the archive is open, and is stopped behind it."""
        archive.start(asyncio.get_running_loop())
        try:
            await take(archive, self._instances(), self._done)
        finally:
            await archive.stop()

    def show(self, seconds: float, *, as_json: bool) -> None:
        """The sum, on stdout."""
        if as_json:
            facts = {"complete": self.complete, "outcomes": dict(self.counts), "bytes": self.bytes}
            show_json({**facts, "seconds": round(seconds, 3), "files": self.told})
            return
        counts = ", ".join(f"{count} {words}" for words, count in self.counts.items())
        print(f"{counts or 'nothing to import'}; {size(self.bytes)} in {seconds:.2f} s")

    def _instances(self) -> Iterator[Instance]:
        number = 0
        for path in self._files():
            found = read_file(path)
            if isinstance(found, Instance):
                self._under_way[number] = found
                number += 1
                yield found
            elif found.reason.startswith((*FOREIGN, DICOMDIR)) and found.name not in self._named:
                self.counts["no DICOM file"] += 1
            else:
                self._refuse(found)

    def _files(self) -> Iterator[Path]:
        """The files to read; of a DICOMDIR that is named those that it refers to."""
        for path in self._paths:
            try:
                files = listed(path)
            except (DecodeError, OSError) as error:
                self._refuse(Skipped(str(path), f"cannot be read: {error}"))
                continue
            if files is None:
                yield from walk([path])
                continue
            self._named.update(map(str, files))
            yield from files

    def _refuse(self, skipped: Skipped) -> None:
        self._complete = False
        self._tell(skipped.name, "not importable", skipped.reason)

    def _done(self, number: int, outcome: Outcome) -> None:
        instance = self._under_way.pop(number)
        if outcome.verdict in (Verdict.STORED, Verdict.REPLACED, Verdict.CONFLICT):
            self.bytes += instance.length
        if outcome.verdict not in KEPT:
            self._complete = False
        if outcome.verdict in (Verdict.STORED, Verdict.ALREADY_STORED, Verdict.REPLACED):
            self.counts[_words(outcome.verdict)] += 1
        else:
            self._tell(instance.name, _words(outcome.verdict), outcome.comment)

    def _tell(self, name: str, fate: str, reason: str) -> None:
        self.counts[fate] += 1
        self.told.append({"file": name, "outcome": fate, "reason": reason})
        if not self._quiet:
            say(escaped(f"{name}: {fate}: {reason}"))


def _words(verdict: Verdict) -> str:
    return verdict.name.lower().replace("_", " ")
