"""What became of the instances of one `dicomwire send`: progress while it runs, a summary behind it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dicomwire.cli.output import MOST_NAMES, escaped, say, show_json, size
from dicomwire.services.instances import Instance, Skipped, read_file, walk
from dicomwire.services.sending import Delivery, Outcome

FOREIGN = ("not a DICOM file", "empty file", "not a regular file")  # reasons to pass over a file in a folder
GOOD = (Outcome.STORED, Outcome.WARNING)


def read(paths: Sequence[Path]) -> tuple[list[Instance], list[Skipped], int]:
    """What there is to send.

    Returns: instances; files that cannot be sent, with the reason; how many files in folders are no DICOM.
    """
    instances: list[Instance] = []
    refused: list[Skipped] = []
    foreign = 0
    named = {str(path) for path in paths}
    for path in walk(paths):
        found = read_file(path)
        if isinstance(found, Instance):
            instances.append(found)
        elif found.reason.startswith(FOREIGN) and found.name not in named:
            foreign += 1
        else:
            refused.append(found)
    return instances, refused, foreign


class Summary:
    """The fates of all files.

    Attributes:
        deliveries: in the order in which they ended.
        refused: files that were not sent at all.
        foreign: files in folders that are no DICOM files.
        seconds: that sending took.
    """

    def __init__(self, destination: str, refused: Iterable[Skipped], foreign: int) -> None:
        self.destination = destination
        self.deliveries: list[Delivery] = []
        self.refused = list(refused)
        self.foreign = foreign
        self.seconds = 0.0

    @property
    def complete(self) -> bool:
        """Whether something was sent, and all there was is stored."""
        return (
            bool(self.deliveries)
            and not self.refused
            and all(each.outcome in GOOD for each in self.deliveries)
        )

    @property
    def bytes(self) -> int:
        """Bytes of the data sets that are stored."""
        return sum(each.instance.length for each in self.deliveries if each.outcome in GOOD)

    def outcomes(self) -> dict[str, int]:
        """How many files had which fate, only fates that occurred."""
        counts = Counter(each.outcome.value for each in self.deliveries)
        ordered = {outcome.value: counts[outcome.value] for outcome in Outcome}
        ordered |= {"not sendable": len(self.refused), "no DICOM file": self.foreign}
        return {words: count for words, count in ordered.items() if count}

    def show(self, *, verbose: bool) -> None:
        """Tell people: what was not stored by name on stderr, one line with the sum on stdout."""
        groups: dict[str, list[str]] = {}
        for each in self.deliveries:
            if each.outcome is not Outcome.STORED:
                groups.setdefault(f"{each.outcome.value}: {each.reason}", []).append(each.instance.name)
        for skipped in self.refused:
            groups.setdefault(f"not sendable: {skipped.reason}", []).append(skipped.name)
        for reason, names in groups.items():
            shown = names if verbose or len(names) <= MOST_NAMES else names[:3]
            for name in shown:
                say(f"{escaped(name)}: {escaped(reason)}")
            if len(shown) < len(names):
                say(f"... and {len(names) - len(shown)} more: {escaped(reason)} (--verbose names them)")
        counts = ", ".join(f"{count} {words}" for words, count in self.outcomes().items())
        stored = sum(each.outcome in GOOD for each in self.deliveries)
        rate = f"{size(self.bytes)} in {self.seconds:.2f} s" if self.seconds else size(self.bytes)
        if self.seconds and stored:
            rate += f", {stored / self.seconds:.0f} instances/s, {size(self.bytes / self.seconds)}/s"
        print(f"{self.destination}: {counts or 'nothing to send'}; {rate}")

    def show_json(self, more: Mapping[str, object]) -> None:
        """Tell programs, `more` too."""
        show_json(
            {
                "destination": self.destination,
                "complete": self.complete,
                "outcomes": self.outcomes(),
                "bytes": self.bytes,
                "seconds": round(self.seconds, 3),
                "files": [_delivery(each) for each in self.deliveries]
                + [
                    {"file": each.name, "outcome": "not sendable", "reason": each.reason}
                    for each in self.refused
                ],
                **more,
            }
        )


@contextmanager
def progress(total: int, length: int, *, quiet: bool) -> Iterator[Callable[[Delivery], None]]:
    """A progress bar on stderr, where a terminal shows it.

    Args:
        total, length: instances and bytes to be sent.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda delivery: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.fields[done]}/{task.fields[total_instances]} instances"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=length, done=0, total_instances=total)
        done = 0

        def report(delivery: Delivery) -> None:
            nonlocal done
            done += 1
            bar.update(task, advance=delivery.instance.length, done=done)

        yield report


def _delivery(each: Delivery) -> dict[str, object]:
    return {
        "file": each.instance.name,
        "outcome": each.outcome.value,
        "status": f"{each.status:04X}" if each.status is not None else None,
        "reason": each.reason,
        "sop_class_uid": each.instance.sop_class_uid,
        "sop_instance_uid": each.instance.sop_instance_uid,
        "transfer_syntax_uid": each.transfer_syntax_uid,
    }
