"""How far a retrieval is, and two tries taken together."""

from __future__ import annotations

import pytest

from dicomwire.services.retrieving import Progress, together


def end(status: int, completed: int, failed: int, warning: int = 0, *missing: str) -> Progress:
    return Progress(
        status,
        final=True,
        remaining=None,
        completed=completed,
        failed=failed,
        warning=warning,
        comment="some words",
        failed_sop_instance_uids=missing,
        words=f"{status:04X}H",
    )


@pytest.mark.parametrize(
    ("first", "again", "completed", "failed", "missing"),
    [
        (end(0xB000, 3, 2, 0, "1", "2"), end(0xB000, 2, 3, 0, "3", "4", "5"), 5, 0, ()),
        (end(0xB000, 3, 2, 0, "1", "2"), end(0xB000, 1, 4, 0, "2", "3", "4", "5"), 4, 1, ("2",)),
        (end(0xA702, 0, 2, 0, "1", "2"), end(0xA702, 0, 2, 0, "1", "2"), 0, 2, ("1", "2")),
        (end(0xA702, 0, 2), end(0xB000, 1, 1), 1, 1, ()),
        (end(0xB000, 1, 1, 0, "1"), end(0xB000, 0, 1, 1, "2"), 1, 0, ()),
    ],
)
def test_another_try_takes_off_what_failed(
    first: Progress, again: Progress, completed: int, failed: int, missing: tuple[str, ...]
) -> None:
    both = together(first, again)
    assert (both.completed, both.failed, both.failed_sop_instance_uids) == (completed, failed, missing)
    assert both.complete is not bool(failed)
    assert both.status == (first.status if failed else 0)
    assert bool(both.comment) is bool(failed)


def test_only_a_success_without_failures_is_complete() -> None:
    assert end(0x0000, 3, 0).complete
    assert not end(0xB000, 3, 1).complete
    assert not end(0xFE00, 3, 0).complete
    assert end(0xFE00, 3, 0).cancelled
