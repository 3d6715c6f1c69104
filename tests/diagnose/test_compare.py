from __future__ import annotations

import pytest

from dicomwire.diagnose.compare import Subject, differences, of_conversation, of_matrix, of_negotiation
from dicomwire.diagnose.timeline import listen
from dicomwire.errors import DecodeError
from dicomwire.upper_layer.negotiation import AcceptorPolicy, negotiate
from tests.diagnose.scenarios import CT, ELE, ILE, JPEG, SCENARIOS, STUDY_FIND
from tests.diagnose.wire import Wire, ac, rq


def association(wire: Wire) -> Subject:
    return of_conversation("a", listen([wire.pcap()]).facts.conversations[0])


def test_two_equal_associations_do_not_differ() -> None:
    one, other = (association(SCENARIOS["status-other"]()) for _ in range(2))
    assert differences(one, other) == []


def test_what_differs_is_named_with_its_effect() -> None:
    wire = Wire()
    wire.open().ask(rq((1, CT, (ILE,)), called="ARCHIV")).answer(ac((1, 0, ILE)))
    other = Wire()
    other.open().ask(rq((1, CT, (ILE,)), called="ARCHIVE")).answer(ac((1, 3, ILE)))
    found = {difference.what: difference for difference in differences(association(wire), association(other))}
    title = found["called AE title"]
    assert (title.a, title.b) == ("ARCHIV", "ARCHIVE")
    assert "1/1/7" in title.effect
    context = found["CT Image Storage in Implicit VR Little Endian"]
    assert context.a == "accepted"
    assert "does not support it" in context.b
    assert "cannot be sent" in context.effect


def test_two_matrices() -> None:
    row = {"abstract_syntax": CT, "transfer_syntax": JPEG, "result": 0}
    one = of_matrix("a", {"peer": "A", "contexts": [row]})
    other = of_matrix("b", {"peer": "A", "contexts": [row | {"result": 4}]})
    (difference,) = differences(one, other)
    assert (difference.a, difference.b) == ("accepted", "transfer syntax not supported")


def test_a_request_against_a_matrix_tells_what_would_be_refused() -> None:
    wire = Wire()
    wire.open().ask(rq((1, CT, (JPEG,)), (3, STUDY_FIND, (ILE,)))).answer(ac((1, 0, JPEG), (3, 0, ILE)))
    rows = [
        {"abstract_syntax": CT, "transfer_syntax": JPEG, "result": 4},
        {"abstract_syntax": CT, "transfer_syntax": ELE, "result": 0},
    ]
    found = differences(association(wire), of_matrix("m", {"contexts": rows}))
    assert [difference.what for difference in found] == [
        "CT Image Storage",
        "Study Root Query/Retrieve Information Model - FIND",
    ]
    assert "propose Explicit VR Little Endian" in found[0].effect
    assert "not known" in found[1].effect


def test_a_matrix_without_contexts_is_none() -> None:
    with pytest.raises(DecodeError, match="no list named contexts"):
        of_matrix("m", {"rows": []})
    with pytest.raises(DecodeError, match=r"contexts\[0\]"):
        of_matrix("m", {"contexts": [{"abstract_syntax": CT}]})


def test_a_request_against_rules_is_answered_as_they_say() -> None:
    wire = Wire()
    wire.open().ask(rq((1, CT, (JPEG,)))).answer(ac((1, 0, JPEG)))
    conversation = listen([wire.pcap()]).facts.conversations[0]
    request = conversation.association_request
    assert request is not None
    negotiation = negotiate(request, AcceptorPolicy(supported={CT: (ILE,)}))
    found = differences(
        of_conversation("a", conversation),
        of_negotiation("rules", request, negotiation.contexts, "A-ASSOCIATE-RJ"),
    )
    assert {difference.what for difference in found} >= {
        "answer",
        "CT Image Storage in JPEG Baseline (Process 1)",
    }
