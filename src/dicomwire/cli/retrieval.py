"""What becomes of the instances of `dicomwire move` and `get`: progress as it runs, a summary behind it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import typer

from dicomwire.cli.output import MOST_NAMES, escaped, say, show_json, size

if TYPE_CHECKING:
    from dicomwire.services.folder import Written
    from dicomwire.services.retrieving import Progress


@dataclass(frozen=True, slots=True)
class Ending:
    """How one retrieval ended.

    Attributes:
        progress: the final answer, if there was one.
        words: why not all went well; "" where it did.
    """

    progress: Progress | None = None
    words: str = ""

    @classmethod
    def of(cls, progress: Progress) -> Ending:
        """What the final answer says."""
        words = ": ".join(filter(None, (progress.words, progress.comment))) if progress.status else ""
        return cls(progress, words)

    @property
    def failed(self) -> int:
        """Instances that were not sent."""
        return (self.progress.failed or 0) if self.progress is not None else 0

    def then(self, again: Ending) -> Ending:
        """This and another try for what failed, with contexts for other SOP classes."""
        from dicomwire.services.retrieving import together

        if self.progress is None or again.progress is None:
            return self
        progress = together(self.progress, again.progress)
        return Ending(progress, self.words if progress.failed else "")


@dataclass(slots=True)
class Retrieved:
    """All retrievals of one command.

    Attributes:
        where: from whom, and to whom.
        folder: that instances are written to, if any.
        asked: how many retrievals there were.
        completed, failed, warning: sub-operations of those that are over.
        failed_sop_instance_uids: what the peer could not send, where it says so.
        failures: words of what went wrong, each once.
        written: files in the folder.
    """

    where: str
    folder: Path | None = None
    asked: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_sop_instance_uids: list[str] = field(default_factory=list)
    failures: dict[str, None] = field(default_factory=dict)
    written: list[Written] = field(default_factory=list)
    began: float = field(default_factory=perf_counter)
    _ended: float = 0.0

    @property
    def complete(self) -> bool:
        """Everything that was asked for has come."""
        return not (self.failures or self.failed)

    def take(self, ending: Ending) -> None:
        """Add how one retrieval ended."""
        progress = ending.progress
        if progress is not None:
            self.completed += progress.completed or 0
            self.failed += progress.failed or 0
            self.warning += progress.warning or 0
            self.failed_sop_instance_uids += progress.failed_sop_instance_uids
        if ending.words:
            self.failures[ending.words] = None

    def conclude(self, *, as_json: bool, verbose: bool) -> None:
        """No other follows: tell, and end with 1 where not all has come."""
        self.close()
        if as_json:
            self.show_json()
        else:
            self.show(verbose=verbose)
        if not self.complete:
            raise typer.Exit(1)

    def close(self) -> None:
        """No other follows."""
        self._ended = perf_counter()
        if self.folder is not None and self.complete and self.completed > len(self.written):
            missing = self.completed - len(self.written)
            self.failures[f"{missing} instances that the peer counts as sent have not come here"] = None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self._ended - self.began

    @property
    def bytes(self) -> int:
        """Of the files written."""
        return sum(each.length for each in self.written)

    def show(self, *, verbose: bool) -> None:
        """Tell people: what went wrong on stderr, one line with the sum on stdout."""
        for words in self.failures:
            say(f"dicomwire: {escaped(words)}")
        names = self.failed_sop_instance_uids
        for uid in names if verbose or len(names) <= MOST_NAMES else names[:3]:
            say(f"{escaped(uid)}: not sent")
        if not self.asked:
            print(f"{self.where}: nothing matches")
            return
        counts = [f"{self.completed} completed"]
        counts += [f"{self.failed} failed"] if self.failed else []
        counts += [f"{self.warning} with a warning"] if self.warning else []
        rate = f"{self.seconds:.2f} s"
        if self.folder is not None:
            there = sum(each.there for each in self.written)
            counts.append(f"{len(self.written) - there} written to {self.folder}")
            counts += [f"{there} there already"] if there else []
            rate = f"{size(self.bytes)} in {rate}"
            if self.seconds:
                rate += f", {len(self.written) / self.seconds:.0f} instances/s"
        print(f"{self.where}: {', '.join(counts)}; {rate}")

    def show_json(self) -> None:
        """Tell programs."""
        show_json(
            {
                "where": self.where,
                "complete": self.complete,
                "retrievals": self.asked,
                "completed": self.completed,
                "failed": self.failed,
                "warning": self.warning,
                "failures": list(self.failures),
                "failed_sop_instance_uids": self.failed_sop_instance_uids,
                "bytes": self.bytes,
                "seconds": round(self.seconds, 3),
                "files": [
                    {
                        "file": str(each.path),
                        "sop_class_uid": each.sop_class_uid,
                        "sop_instance_uid": each.sop_instance_uid,
                        "transfer_syntax_uid": each.transfer_syntax_uid,
                        "bytes": each.length,
                        "there_already": each.there,
                    }
                    for each in self.written
                ],
            }
        )


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr for one command, where a terminal shows it; each retrieval has its own count."""
    if quiet or not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("instances", total=None)

        def show(progress: Progress) -> None:
            counts = (progress.completed, progress.failed, progress.warning)
            done = sum(count or 0 for count in counts)
            failed = f", {progress.failed} failed" if progress.failed else ""
            if progress.remaining is not None:
                bar.update(task, total=done + progress.remaining)
            bar.update(task, completed=done, description=f"instances{failed}")

        yield show
