from __future__ import annotations

import json

from dicomwire.diagnose.finding import (
    Confidence,
    Evidence,
    Finding,
    Fix,
    Layer,
    Outcome,
    Party,
    Severity,
    Side,
    Story,
    escaped,
    exit_status,
    outcome_of,
    timestamp,
)

FINDING = Finding(
    code="reject-called-ae-title",
    severity=Severity.FAILURE,
    layer=Layer.ASSOCIATION,
    side=Side.REQUESTOR,
    summary="PACS is not called ARCHIV",
    why="AE titles are compared letter by letter",
    fix=Fix(requestor="call it ARCHIVE"),
    reference="PS3.8 9.3.4",
    evidence=(Evidence(what="A-ASSOCIATE-RJ 1/1/7", frame=6, time=1.5, byte_range=(0, 10)),),
)


def test_a_story_prints_as_the_contract_says() -> None:
    story = Story(
        kind="association",
        requestor=Party(address="::1", port=104, ae_title="A"),
        acceptor=Party(address="10.0.0.1", port=11112),
        started=0.25,
        outcome=Outcome.FAILED,
        verdict=FINDING,
        findings=(FINDING,),
    )
    printed = json.loads(json.dumps(story.as_json()))
    assert printed["kind"] == "association"
    assert (printed["requestor"], printed["acceptor"]) == ("A@[::1]:104", "10.0.0.1:11112")
    assert printed["started"] == "1970-01-01T00:00:00.250000Z"
    assert printed["outcome"] == "failed"
    assert printed["verdict"]["code"] == printed["findings"][0]["code"] == "reject-called-ae-title"
    assert printed["verdict"]["fix"] == {"requestor": "call it ARCHIVE"}
    assert printed["verdict"]["evidence"][0]["bytes"] == [0, 10]
    assert printed["related"] == printed["events"] == []


def test_a_possible_failure_leaves_the_outcome_unknown() -> None:
    possible = Finding(
        code="x",
        severity=Severity.FAILURE,
        layer=Layer.TCP,
        side=Side.NETWORK,
        summary="",
        why="",
        fix=Fix(),
        confidence=Confidence.POSSIBLE,
    )
    assert outcome_of((possible,)) is Outcome.UNKNOWN
    assert outcome_of((possible, FINDING)) is Outcome.FAILED
    assert outcome_of(()) is Outcome.OK
    assert outcome_of((), known=False) is Outcome.UNKNOWN


def test_the_exit_status_is_that_of_the_worst_outcome() -> None:
    assert exit_status(()) == exit_status((Outcome.OK,)) == 0
    assert exit_status((Outcome.OK, Outcome.UNKNOWN)) == 3
    assert exit_status((Outcome.UNKNOWN, Outcome.FAILED)) == 1


def test_what_a_peer_sent_is_escaped_and_no_time_is_too_odd_to_print() -> None:
    assert escaped("A\x1b[31m\n") == "A\\x1b[31m\\n"
    assert timestamp(1e18) is None
