"""Stories that tell the same, put together: a device that tries again all day has one story to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from dicomwire.diagnose.finding import Finding, Outcome, Story

PLACES_SHOWN: Final = 8  # runs of places named of a group

_ORDER: Final = {Outcome.FAILED: 0, Outcome.UNKNOWN: 1, Outcome.OK: 2}


class Group(NamedTuple):
    """Stories with one outcome and one verdict.

    Attributes:
        outcome: theirs.
        verdict: of the first; None where all is well.
        places: theirs in the list, counted from 0.
    """

    outcome: Outcome
    verdict: Finding | None
    places: tuple[int, ...]

    @property
    def where(self) -> str:
        """The stories' numbers, counted from 1: `1-3, 7`."""
        runs: list[list[int]] = []
        for place in self.places:
            if runs and runs[-1][1] == place - 1:
                runs[-1][1] = place
            else:
                runs.append([place, place])
        words = [f"{first + 1}" if first == last else f"{first + 1}-{last + 1}" for first, last in runs]
        more = f" and {len(words) - PLACES_SHOWN} more" if len(words) > PLACES_SHOWN else ""
        return ", ".join(words[:PLACES_SHOWN]) + more


def overview(stories: Sequence[Story]) -> tuple[Group, ...]:
    """The groups, failures first, each group where its first story stands."""
    found: dict[tuple[Outcome, str, str], list[int]] = {}
    for place, story in enumerate(stories):
        verdict = story.verdict
        code, summary = (verdict.code, verdict.summary) if verdict else ("", "")
        found.setdefault((story.outcome, code, summary), []).append(place)
    groups = [Group(key[0], stories[places[0]].verdict, tuple(places)) for key, places in found.items()]
    return tuple(sorted(groups, key=lambda group: (_ORDER[group.outcome], group.places[0])))


def told_before(groups: Sequence[Group]) -> dict[int, int]:
    """For each story with a verdict that an earlier one has, too: the place of the first."""
    return {place: group.places[0] for group in groups if group.verdict for place in group.places[1:]}
