from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from dicomwire.association.greeting import HTTP_ANSWER, TLS_ALERT
from dicomwire.diagnose.finding import Outcome, Severity, Side
from dicomwire.diagnose.rules import RULE_OF, RULES
from dicomwire.dimse import status
from dicomwire.dimse.codec import encode as encode_command
from dicomwire.dimse.command import (
    CEchoRq,
    CEchoRsp,
    CFindRq,
    CFindRsp,
    CGetRq,
    CGetRsp,
    CStoreRq,
    CStoreRsp,
    NActionRq,
    NActionRsp,
    NCreateRq,
    NCreateRsp,
    NEventReportRq,
    NEventReportRsp,
    NSetRq,
    NSetRsp,
    Request,
    Response,
)
from dicomwire.dimse.status import StatusClass, status_class
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ImplementationClassUID,
    SOPClassExtendedNegotiation,
    UnknownItem,
    UserIdentityRq,
)
from dicomwire.upper_layer.pdu import Abort, AssociateRj, ReleaseRp, ReleaseRq
from tests.diagnose.scenarios import (
    BESIDE,
    COMMITMENT,
    COMMITMENT_INSTANCE,
    CT,
    ILE,
    JPEG,
    MPPS,
    MR,
    SCENARIOS,
    STUDY_FIND,
    STUDY_GET,
    WORKLIST,
    associated,
    echo,
    find,
    identifier,
    instance,
    move,
    moved,
    release,
    store,
    sub_association,
)
from tests.diagnose.wire import ACK, FIN, ITEMS, PSH, RST, Wire, ac, element, message, p_data, rq

WITH_REAL_TLS = {code for code in RULE_OF if code.startswith("tls-") or code == "plain-client-on-tls-port"}
ELSEWHERE = WITH_REAL_TLS | {"tls-handshake-failed"}


@pytest.mark.parametrize("code", SCENARIOS)
def test_a_cause_is_the_verdict_of_its_capture(code: str) -> None:
    stories = SCENARIOS[code]().stories()
    verdicts = {story.verdict.code for story in stories if story.verdict}
    assert code in verdicts, [finding.code for story in stories for finding in story.findings]


@pytest.mark.parametrize("code", BESIDE)
def test_a_remark_is_among_the_findings(code: str) -> None:
    stories = BESIDE[code]().stories()
    found = [finding.code for story in stories for finding in story.findings]
    assert code in found


def test_every_rule_has_a_capture() -> None:
    assert set(RULE_OF) - set(SCENARIOS) - set(BESIDE) - ELSEWHERE == set()


def test_every_rule_says_whose_side_why_and_what_to_do() -> None:
    for rule in RULES:
        finding = rule.finding()
        assert finding.summary, rule.code
        assert finding.why, rule.code
        assert finding.reference, rule.code
        assert finding.fix.as_json() or finding.severity is Severity.INFO, rule.code
        assert finding.check, rule.code


def test_no_story_has_words_that_nothing_filled() -> None:
    for code, build in (SCENARIOS | BESIDE).items():
        for story in build().stories():
            for finding in story.findings:
                words = [finding.summary, finding.why, finding.check, *finding.fix.as_json().values()]
                assert not any("None" in text or "{" in text for text in words), (code, words)
                assert "?" not in finding.summary, (code, finding.summary)


FOLLOWS: dict[str, set[str]] = {
    "abort-before-response": {
        "command-field-missing",
        "context-id-unknown",
        "pdu-too-long",
        "pdu-unexpected",
    },
    "abort-by-acceptor": {
        "abort-before-response",
        "command-field-missing",
        "command-malformed",
        "context-id-invalid",
        "context-id-unknown",
        "http-client-on-port",
        "idle-timeout",
        "pdu-malformed",
        "pdu-too-long",
        "pdu-unexpected",
        "pdu-unknown-type",
        "proxy-header",
    },
    "abort-by-requestor": {
        "context-foreign-transfer-syntax",
        "context-transfer-syntax",
        "dimse-no-response",
        "response-unmatched",
    },
    "dimse-no-response": {"response-unmatched"},
    "association-no-answer": {"acceptor-busy"},
    "capture-ends-early": {"tcp-half-open"},
    "context-transfer-syntax": {"move-destination-context"},
    "find-identifier-mismatch": {"find-level-missing"},
    "no-accepted-context": {
        "context-abstract-syntax",
        "context-foreign-transfer-syntax",
        "context-refused",
        "context-transfer-syntax",
        "move-destination-context",
    },
    "pdu-truncated": {"path-mtu", "tcp-stalled"},
    "reject-calling-ae-title": {"move-destination-rejects"},
    "reject-no-reason": {"reject-user-identity"},
    "status-not-authorized": {"query-not-allowed"},
    "status-other": {"mpps-duplicate", "mpps-final"},
    "status-out-of-resources": {
        "move-destination-context",
        "move-destination-rejects",
        "move-destination-unreachable",
        "move-partial",
        "role-not-negotiated",
    },
    "status-sop-class-not-supported": {"sop-class-not-of-context"},
    "tcp-closed-before-answer": {"hl7-on-port", "tcp-reset"},
    "tcp-refused": {"commitment-report-undelivered", "move-destination-unreachable"},
    "tcp-reset": {"tcp-half-open", "tcp-stalled"},
}
"""Captures of other causes in which a code is rightly found, too: as a symptom, or a lesser hypothesis."""

CLEAN: dict[str, Callable[[Wire], object]] = {
    "echo": lambda wire: release(echo(associated(wire, (1, VERIFICATION, (ILE,))))),
    "store": lambda wire: release(store(associated(wire, (1, CT, (ILE,))))),
    "find": lambda wire: release(find(associated(wire, (1, STUDY_FIND, (ILE,))), 0, matches=3)),
    "any port": lambda wire: release(echo(associated(wire, (1, VERIFICATION, (ILE,)), port=50_001))),
}


def clean(build: Callable[[Wire], None]) -> None:
    CLEAN[build.__name__.replace("_", " ").strip()] = build


@clean
def several_values_in_a_pdu(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    command, data = encode_command(CStoreRq(1, CT, "1.2.3")), instance(rows=16)
    values = b"".join(
        struct.pack(">IBB", len(part) + 2, 1, control) + part
        for control, part in ((1, command[:20]), (3, command[20:]), (0, data[:100]), (2, data[100:]))
    )
    talk.ask(struct.pack(">BBI", 4, 0, len(values)) + values).answer(message(CStoreRsp(1, 0)))
    release(talk)


@clean
def one_hundred_and_twenty_eight_contexts(wire: Wire) -> None:
    contexts = [(id, VERIFICATION, (ILE,)) for id in range(1, 256, 2)]
    release(echo(associated(wire, *contexts)))


@clean
def unknown_sub_items_and_asynchronous_operations(wire: Wire) -> None:
    items = (*ITEMS, UnknownItem(0x5F, b"future"), AsynchronousOperationsWindow(4, 1))
    talk = wire.open().ask(rq(items=items)).answer(ac(items=(*ITEMS, AsynchronousOperationsWindow(2, 1))))
    for id in (1, 2):
        talk.ask(message(CEchoRq(id, VERIFICATION)))
    for id in (2, 1):
        talk.answer(message(CEchoRsp(id, 0)))
    release(talk)


@clean
def ipv6(wire: Wire) -> None:
    talk = wire.open(client="2001:db8::1", server="2001:db8::2").ask(rq((1, CT, (ILE,)))).answer(ac())
    release(store(talk))


@clean
def some_contexts_refused(wire: Wire) -> None:
    talk = wire.open().ask(rq((1, CT, (JPEG,)), (3, MR, (ILE,)), (5, CT, (ILE,))))
    talk.answer(ac((1, 4, ILE), (3, 3, ILE), (5, 0, ILE)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance(), 5)).answer(message(CStoreRsp(1, 0), None, 5))
    release(talk)


@clean
def a_health_check_beside_an_association(wire: Wire) -> None:
    wire.open().close(0)
    release(echo(associated(wire, (1, VERIFICATION, (ILE,)))))


@clean
def a_move_with_its_sub_association(wire: Wire) -> None:
    talk = move(wire)
    release(store(sub_association(wire, (1, CT, (ILE,))).answer(ac((1, 0, ILE)))))
    moved(talk, 0, 1, 0)


@clean
def a_commitment_reported_without_role_selection(wire: Wire) -> None:
    talk = associated(wire, (1, COMMITMENT, (ILE,)))
    report = NEventReportRq(1, COMMITMENT, COMMITMENT_INSTANCE, 1, data_set=True)
    talk.ask(message(report, element(0x00081195, "1.2.77 "))).answer(message(NEventReportRsp(1, 0)))
    release(talk)


@clean
def release_with_data_still_on_its_way(wire: Wire) -> None:
    talk = associated(wire, (1, VERIFICATION, (ILE,)))
    talk.ask(message(CEchoRq(1, VERIFICATION))).answer(message(CEchoRsp(1, 0)))
    talk.ask(ReleaseRq()).answer(ReleaseRp()).close(1)


@clean
def union_of_retransmitted_and_reordered_segments(wire: Wire) -> None:
    talk = associated(wire, (1, CT, (ILE,)))
    sent = message(CStoreRq(1, CT, "1.2.3"), instance())
    at = talk.next[0]
    pieces = [(start, sent[start : start + 1_000]) for start in range(0, len(sent), 1_000)]
    pieces[1], pieces[2] = pieces[2], pieces[1]
    for start, piece in [*pieces[:4], pieces[0], *pieces[3:], *pieces[-2:]]:
        talk.packet(0, PSH | ACK, piece, sequence=at + start)
    overlap = sent[500:2_500]
    talk.packet(0, PSH | ACK, overlap, sequence=at + 500)
    talk.next[0] = at + len(sent)
    talk.packet(1, ACK)
    talk.answer(message(CStoreRsp(1, 0)))
    release(talk)


@pytest.mark.parametrize("name", CLEAN)
def test_clean_traffic_has_no_verdict(name: str) -> None:
    wire = Wire()
    CLEAN[name](wire)
    explanation = wire.explained()
    assert explanation.stories
    for story in explanation.stories:
        assert story.verdict is None, story.verdict
        assert story.outcome is Outcome.OK
        assert [finding.code for finding in story.findings if finding.severity is not Severity.INFO] == []
    assert explanation.exit_status == 0


def test_a_cause_stays_silent_in_the_captures_of_the_others() -> None:
    fired: dict[str, set[str]] = {}
    for code, build in SCENARIOS.items():
        for story in build().stories():
            fired.setdefault(code, set()).update(finding.code for finding in story.findings)
    for code in SCENARIOS:
        others = {other for other, codes in fired.items() if code in codes and other != code}
        assert others <= FOLLOWS.get(code, set()), (code, others)


def test_a_hit_in_masked_words_shows_no_patient() -> None:
    explanation = SCENARIOS["status-out-of-resources"]().explained()
    assert "JANE" not in str(explanation.as_json())
    queried = SCENARIOS["find-identifier-mismatch"]().explained()
    assert "4711" not in str(queried.as_json())
    assert "PatientID=***" in str(queried.as_json())


def test_credentials_are_masked() -> None:
    shown = str(SCENARIOS["reject-user-identity"]().explained().as_json())
    assert "joe" not in shown
    assert "secret" not in shown


def test_a_wrong_title_is_told_with_the_right_one_where_the_capture_has_it() -> None:
    wire = Wire()
    release(echo(associated(wire, (1, VERIFICATION, (ILE,)))))
    wire.open().ask(rq(called="scp")).answer(AssociateRj(1, 1, 7)).close()
    verdict = wire.stories()[1].verdict
    assert verdict is not None
    assert "own (SCP, to which it answered on another connection) instead of scp" in verdict.fix.requestor


def test_a_node_that_answers_strangers_in_their_language_is_still_a_dicom_node() -> None:
    wire = Wire()
    release(echo(associated(wire, (1, VERIFICATION, (ILE,)), port=4_242)))
    wire.open(4_242).ask(b"GET / HTTP/1.1\r\n\r\n").answer(HTTP_ANSWER).close(1)
    hello = b"\x16\x03\x01\x00\x30" + b"\x01\x00\x00\x2c\x03\x03" + bytes(42)
    wire.open(4_242).ask(hello).answer(TLS_ALERT).close(1)
    _, web, tls = wire.stories()
    assert web.verdict is not None
    assert web.verdict.code == "http-client-on-port"
    assert tls.verdict is not None
    assert tls.verdict.code == "tls-client-on-plain-port"


def test_who_hung_up_first_ended_it_not_the_abort_that_answers_that() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance())[:8_000])
    talk.packet(0, FIN | ACK)
    talk.answer(Abort(0, 0)).close(1)
    verdict = wire.stories()[0].verdict
    assert verdict is not None
    assert verdict.code == "pdu-truncated"
    assert verdict.side is Side.REQUESTOR


def answered_with(
    sop_class: str, request: Request, response: type[Response]
) -> Callable[[Wire, int], object]:
    """A request in a context of its SOP class, answered with a status."""

    def play(wire: Wire, code: int) -> None:
        talk = associated(wire, (1, sop_class, (ILE,)))
        release(talk.ask(message(request, identifier())).answer(message(response(1, code))))

    return play


OPERATIONS: dict[str, Callable[[Wire, int], object]] = {
    status.STORE: lambda wire, code: release(store(associated(wire, (1, CT, (ILE,))), code)),
    status.FIND: lambda wire, code: release(find(associated(wire, (1, STUDY_FIND, (ILE,))), code)),
    "worklist": answered_with(WORKLIST, CFindRq(1, WORKLIST), CFindRsp),
    status.MOVE: lambda wire, code: moved(move(wire), code, 0, 1),
    status.GET: answered_with(STUDY_GET, CGetRq(1, STUDY_GET), CGetRsp),
    "N-CREATE": answered_with(MPPS, NCreateRq(1, MPPS, "1.2.9", data_set=True), NCreateRsp),
    "N-SET": answered_with(MPPS, NSetRq(1, MPPS, "1.2.9"), NSetRsp),
    "N-ACTION": answered_with(
        COMMITMENT, NActionRq(1, COMMITMENT, COMMITMENT_INSTANCE, 1, data_set=True), NActionRsp
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_status_of_failure_goes_unnoticed(operation: str) -> None:
    high = (0xA0, 0xA7, 0xA8, 0xA9, 0xAA, 0xC0, 0xC1, 0xD0, 0xFF)
    service = operation if operation.startswith("C-") else status.GENERAL
    for code in (*range(0x0100, 0x0214), *(first << 8 | last for first in high for last in (1, 2, 4, 0xFF))):
        if status_class(service, code) is not StatusClass.FAILURE:
            continue
        wire = Wire()
        OPERATIONS[operation](wire, code)
        story = wire.stories()[0]
        assert story.outcome is Outcome.FAILED, f"{code:04X}"
        assert story.verdict is not None


def test_a_response_of_another_service_is_no_answer() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(message(CStoreRq(1, CT, "1.2.3"), instance())).answer(message(CFindRsp(1, 0)))
    talk.ask(Abort(0, 0), wait=30).close(0)
    verdict = wire.stories()[0].verdict
    assert verdict is not None
    assert verdict.code == "response-unmatched"
    assert "message 1, which was a C-STORE" in verdict.summary


def test_a_second_answer_is_a_remark_where_nothing_is_missing() -> None:
    wire = Wire()
    talk = echo(associated(wire, (1, VERIFICATION, (ILE,))))
    release(talk.answer(message(CEchoRsp(1, 0))))
    story = wire.stories()[0]
    assert story.outcome is Outcome.OK
    assert [finding.code for finding in story.findings] == ["response-unmatched"]


def test_a_release_that_is_not_answered_is_the_acceptors_fault() -> None:
    wire = Wire()
    talk = echo(associated(wire, (1, VERIFICATION, (ILE,)))).ask(ReleaseRq())
    talk.ask(Abort(0, 0), wait=30).close(0)
    verdict = wire.stories()[0].verdict
    assert verdict is not None
    assert (verdict.code, verdict.side) == ("abort-by-requestor", Side.ACCEPTOR)
    assert "A-RELEASE-RQ was not answered" in verdict.summary


@pytest.mark.parametrize("relational", [False, True])
def test_keys_of_higher_levels_may_be_missing_where_queries_are_relational(relational: bool) -> None:
    wire = Wire()
    items = (*ITEMS, SOPClassExtendedNegotiation(STUDY_FIND, bytes((relational,))))
    talk = wire.open().ask(rq((1, STUDY_FIND, (ILE,)), items=items)).answer(ac(items=items))
    release(find(talk, 0, data=identifier("SERIES")))
    codes = [finding.code for finding in wire.stories()[0].findings]
    assert ("find-identifier-mismatch" in codes) is not relational


def test_who_asks_and_does_not_wait_has_not_been_served() -> None:
    wire = Wire()
    associated(wire, (1, CT, (ILE,))).ask(message(CStoreRq(1, CT, "1.2.3"), instance())).close(0)
    story = wire.stories()[0]
    assert story.outcome is Outcome.FAILED
    assert story.verdict is not None
    assert story.verdict.code == "closed-without-release"


def test_a_refused_context_names_the_accepted_one_of_its_class() -> None:
    wire = Wire()
    talk = wire.open().ask(rq((1, CT, (JPEG,)), (3, CT, (ILE,)))).answer(ac((1, 4, ILE), (3, 0, ILE)))
    talk.ask(Abort(0, 0)).close(1)
    story = wire.stories()[0]
    assert story.verdict is not None
    assert story.verdict.code == "context-transfer-syntax"
    assert "presentation context 3" in story.negotiation[0].change


def test_pdata_without_any_value_is_no_fault() -> None:
    wire = Wire()
    talk = associated(wire, (1, VERIFICATION, (ILE,)))
    talk.ask(b"\x04\0\0\0\0\0")
    release(echo(talk))
    assert wire.explained().exit_status == 0


def test_an_acceptor_that_started_again_denies_the_connection() -> None:
    wire = Wire()
    talk = echo(associated(wire, (1, VERIFICATION, (ILE,))))
    wire.now += 300
    talk.packet(0, PSH | ACK, message(CEchoRq(2, VERIFICATION)))
    talk.packet(1, RST)
    (story,) = wire.stories()
    assert story.verdict is not None
    assert story.verdict.code == "tcp-half-open"
    assert "answers the requestor that it knows no such connection" in story.verdict.summary


def test_a_program_that_ends_a_connection_by_reset_is_not_gone() -> None:
    wire = Wire()
    talk = echo(associated(wire, (1, VERIFICATION, (ILE,))))
    talk.packet(0, PSH | ACK, message(CEchoRq(2, VERIFICATION)))
    (story,) = [*talk.reset(1).wire.stories()]
    assert story.verdict is not None
    assert story.verdict.code == "tcp-reset"


def without(command: Request, tag: int) -> bytes:
    """A message whose command set lacks an element."""
    kept = b""
    raw = encode_command(command)[12:]
    while raw:
        length = 8 + struct.unpack_from("<I", raw, 4)[0]
        group, number = struct.unpack_from("<HH", raw)
        kept, raw = kept + (b"" if group << 16 | number == tag else raw[:length]), raw[length:]
    return p_data(1, element(0, struct.pack("<I", len(kept))) + kept)


@pytest.mark.parametrize(
    ("tag", "name"), [(0x0110, "message id"), (0x0700, "priority"), (0x1000, "sop instance")]
)
def test_what_a_command_lacks_is_why_it_was_answered_by_abort(tag: int, name: str) -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(without(CStoreRq(1, CT, "1.2.3"), tag)).answer(Abort(2, 6)).close(1)
    (story,) = wire.stories()
    assert story.verdict is not None
    assert story.verdict.code == "command-field-missing"
    assert name in story.verdict.summary.lower()


def test_what_the_peer_puts_up_with_is_no_cause() -> None:
    wire = Wire()
    talk = associated(wire, (1, CT, (ILE,)))
    talk.ask(without(CStoreRq(1, CT, "1.2.3"), 0x0700) + p_data(0, instance()))
    release(talk.answer(message(CStoreRsp(1, 0))))
    (story,) = wire.stories()
    assert story.outcome is Outcome.OK
    assert not story.findings


@pytest.mark.parametrize("source", [1, 2])
def test_a_login_rejected_without_a_reason_is_rejected_for_the_login(source: int) -> None:
    wire = Wire()
    login = UserIdentityRq(2, False, b"joe", b"secret")
    wire.open().ask(rq(items=(*ITEMS, login))).answer(AssociateRj(1, source, 1)).close()
    (story,) = wire.stories()
    assert story.verdict is not None
    assert story.verdict.code == "reject-user-identity"


def test_who_rejects_is_known_by_another_association() -> None:
    wire = Wire()
    dcmtk = (ImplementationClassUID("1.2.276.0.7230010.3.0.3.6.7"),)
    release(wire.open().ask(rq()).answer(ac(items=dcmtk)))
    wire.open().ask(rq()).answer(AssociateRj(1, 1, 3)).close(1)
    *_, story = wire.stories()
    assert story.verdict is not None
    assert "HostTable" in story.verdict.fix.acceptor
