"""Sequence diagrams of stories that belong together, as SVG: a lane for each party, time downwards."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from dicomwire.diagnose.finding import Event, Party, Side, Story

EVENTS: Final = 120  # drawn of one group; more is no picture any more
LETTERS: Final = 84  # of one label

_WIDTH: Final = 1000
_LEFT: Final = 210  # centre of the first lane; the times stand left of it
_RIGHT: Final = 860
_TOP: Final = 70
_ROW: Final = 38
_BOX: Final = 190


class _Arrow(NamedTuple):
    event: Event
    source: int
    target: int
    story: int


def sequence_diagram(stories: Sequence[Story]) -> str:
    """The events of stories of the same matter, in one picture."""
    lanes: dict[str, Party] = {}
    arrows: list[_Arrow] = []
    for number, story in enumerate(stories):
        requestor, acceptor = _lane(lanes, story.requestor), _lane(lanes, story.acceptor)
        if requestor == acceptor:  # one machine, or one AE title, talks to itself
            acceptor = _lane(lanes, story.acceptor, str(story.acceptor))
        for event in story.events:
            source, target = (acceptor, requestor) if event.sender is Side.ACCEPTOR else (requestor, acceptor)
            arrows.append(_Arrow(event, source, target, number))
    arrows.sort(key=lambda arrow: (arrow.event.time, arrow.event.frame or 0))
    left_out = max(0, len(arrows) - EVENTS) + sum(story.events_omitted for story in stories)
    if len(arrows) > EVENTS:
        arrows = arrows[: EVENTS // 2] + arrows[-EVENTS // 2 :]
    if not arrows:
        return ""
    height = _TOP + _ROW * (len(arrows) + 1)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Sequence diagram">']
    places = [_LEFT + (_RIGHT - _LEFT) * lane // max(1, len(lanes) - 1) for lane in range(len(lanes))]
    for place, party in zip(places, lanes.values(), strict=True):
        parts.append(_lane_head(place, party, height))
    start = arrows[0].event.time
    for row, arrow in enumerate(arrows):
        parts.append(_arrow(arrow, places, _TOP + _ROW * (row + 1), start))
    if left_out:
        parts.append(f'<text class="soft" x="10" y="{height - 8}">{left_out} more events are left out</text>')
    return "".join(parts) + "</svg>"


def _lane(lanes: dict[str, Party], party: Party, key: str = "") -> int:
    key = key or party.ae_title or party.address
    lanes.setdefault(key, party)
    return list(lanes).index(key)


def _lane_head(x: int, party: Party, height: int) -> str:
    title = escape(party.ae_title or party.address)
    where = escape(f"{party.address}:{party.port}" if party.port else party.address)
    return (
        f'<line class="lane" x1="{x}" y1="54" x2="{x}" y2="{height - 20}"/>'
        f'<rect class="box" x="{x - _BOX // 2}" y="8" width="{_BOX}" height="46" rx="6"/>'
        f'<text x="{x}" y="28" text-anchor="middle" font-weight="600">{title}</text>'
        f'<text class="soft" x="{x}" y="45" text-anchor="middle">{where}</text>'
    )


def _arrow(arrow: _Arrow, places: Sequence[int], y: int, start: float) -> str:
    event = arrow.event
    bad = " bad" if event.bad else ""
    label = f"{event.name}  {event.detail}".strip()
    short = label if len(label) <= LETTERS else label[: LETTERS - 1] + "…"
    source, target = places[arrow.source], places[arrow.target]
    frame = f" #{event.frame}" if event.frame else ""
    parts = [f'<text class="soft" x="10" y="{y}">{event.time - start:.4f} s{frame}</text>']
    middle = (source + target) // 2
    if event.sender is not None and source != target:
        tip = 9 if target > source else -9
        parts.append(f'<line class="arrow{bad}" x1="{source}" y1="{y}" x2="{target - tip}" y2="{y}"/>')
        points = f"{target},{y} {target - tip},{y - 5} {target - tip},{y + 5}"
        parts.append(f'<polygon class="tip{bad}" points="{points}"/>')
    parts.append(
        f'<text class="{bad.strip()}" x="{middle}" y="{y - 6}" text-anchor="middle">{escape(short)}'
        f"<title>{escape(label)}</title></text>"
    )
    return f"<g>{''.join(parts)}</g>"
