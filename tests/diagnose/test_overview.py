from __future__ import annotations

from dicomwire.diagnose.finding import Outcome
from dicomwire.diagnose.html import page
from dicomwire.diagnose.overview import overview, told_before
from dicomwire.diagnose.text import explanation_lines
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer.pdu import AssociateRj
from tests.diagnose.scenarios import ILE, associated, echo, release
from tests.diagnose.wire import ACK, RST, SYN, Wire, rq


def troubled() -> Wire:
    """Three tries at a closed port, an echo that goes well between them, a rejection at the end."""
    wire = Wire()
    for number in range(3):
        talk = wire.talk(4_242)
        talk.packet(0, SYN)
        talk.packet(1, RST | ACK)
        if number == 1:
            release(echo(associated(wire, (1, VERIFICATION, (ILE,)))))
    wire.open().ask(rq()).answer(AssociateRj(1, 1, 3)).close()
    return wire


def test_stories_that_tell_the_same_are_one_group_failures_first() -> None:
    groups = overview(troubled().stories())
    codes = [group.verdict.code if group.verdict else "" for group in groups]
    assert codes == ["tcp-refused", "reject-calling-ae-title", ""]
    assert [group.where for group in groups] == ["1-2, 4", "5", "3"]
    assert groups[-1].outcome is Outcome.OK
    assert told_before(groups) == {1: 0, 3: 0}


def test_the_first_screen_has_every_cause_and_says_each_once() -> None:
    lines = [line.text for line in explanation_lines(troubled().explained())]
    assert "tcp-refused" in lines[2]
    assert "reject-calling-ae-title" in lines[3]
    assert sum("Whose side" in line for line in lines) == 2
    assert "   as in 1" in lines
    everything = [line.text for line in explanation_lines(troubled().explained(), everything=True)]
    assert sum("Whose side" in line for line in everything) == 4


def test_the_page_begins_with_the_same() -> None:
    text = page([troubled().explained()])
    assert text.index("<table>") < text.index('id="s1"')
    assert text.count("What to change") == 2


def test_a_machine_that_talks_to_itself_has_two_lanes() -> None:
    wire = Wire()
    talk = wire.talk(4_242, client="127.0.0.1", server="127.0.0.1")
    talk.packet(0, SYN)
    talk.packet(1, RST | ACK)
    assert page([wire.explained()]).count('class="lane"') == 2
