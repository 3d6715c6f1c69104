"""The page, and what is said to try next."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dicomwire.association.flight import FlightRecorder
from dicomwire.node.facts import (
    ArchiveFacts,
    AssociationFacts,
    Door,
    Facts,
    PeerFacts,
    State,
    hints,
    location,
)
from dicomwire.node.page import render, size

FACTS = Facts(
    name="dicomwire",
    version="0.1.0",
    state=State.READY,
    ae_title="PACS",
    ae_titles=("PACS", "RESEARCH"),
    dimse=Door("0.0.0.0", 104, False, "dimse://0.0.0.0:104"),
    web=Door("0.0.0.0", 80, False, "http://0.0.0.0:80"),
    public_url="http://127.0.0.1:80",
    dicomweb="http://127.0.0.1:80/dicom-web",
    started="2026-01-01T00:00:00.000+00:00",
    uptime_seconds=90_061.0,
    login_required=False,
    archive=ArchiveFacts(1, 2, 3_000, 525_300),
    jobs={"waiting": 7_001, "failed": 0},
    performed={"C-ECHO": 1},
    sent={"stored": 2},
    web_requests={"2xx": 1},
    associations=(
        AssociationFacts(
            "a1", "<script>", "PACS", "10.0.0.1:4000", "EVIL&CO", 5.0, {"C-STORE": 2}, 10, 20, "", {}
        ),
    ),
    peers=(PeerFacts("CT1", "10.0.0.5:104", ("echo", "store")),),
)


class Balance(HTMLParser):
    """Finds tags that are not closed."""

    VOID = frozenset({"meta", "link", "br", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_says_what_matters() -> None:
    html = render(FACTS)
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    for words in (
        "PACS",
        "RESEARCH",
        "3,000",
        "525.3 KB",
        "<b>7,001</b> waiting",
        "1 d 1 h",
        "CT1",
        "echo, store",
        "2 C-STORE",
        "ready",
    ):
        assert words in html


def test_the_last_associations_lead_to_their_stories() -> None:
    flight = FlightRecorder(20)
    for number in range(12):
        recording = flight.begin(f"a{number}")
        recording.opened(("192.0.2.1", 40_000), ("192.0.2.2", 104))
        recording.named("<CT1>", "PACS", "rejected")
        recording.note("calling AE title '<CT1>' is none of the configured peers")
        recording.closed(by_peer=True, error=None)
    flight.begin("open")
    html = render(FACTS, flight)
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert "&lt;CT1&gt; → PACS" in html
    assert "none of the configured peers" in html
    assert [f'href="associations/a{number}"' in html for number in (11, 2, 1)] == [True, True, False]
    assert "associations/open" not in html


def test_what_a_peer_sent_is_escaped() -> None:
    html = render(FACTS)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "EVIL&amp;CO" in html


def test_the_page_loads_nothing_from_elsewhere() -> None:
    html = render(replace(FACTS, associations=(), peers=()))
    assert "<script" not in html
    assert "src=" not in html
    assert "Open associations" not in html


def test_hints_name_an_address_that_can_be_reached() -> None:
    commands = [how for _, how in hints(FACTS)]
    assert commands[0] == "echoscu -aec PACS 127.0.0.1 104"
    assert not any("0.0.0.0" in command for command in commands)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (1_500_000, "1.5 MB"), (2e9, "2.0 GB"), (3e12, "3.0 TB")],
)
def test_sizes_are_for_people(count: int, words: str) -> None:
    assert size(int(count)) == words


def test_an_ipv6_location_has_brackets() -> None:
    assert location("::1", 104) == "[::1]:104"


def test_a_node_without_jobs_says_nothing_of_them() -> None:
    assert "api/jobs" in render(FACTS)
    assert "api/jobs" not in render(replace(FACTS, jobs={"done": 4}))
