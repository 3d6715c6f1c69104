from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator

import pytest

from dicomwire.association.acceptor import Acceptor
from dicomwire.association.identity import username_and_passcode
from dicomwire.association.options import AcceptorOptions
from dicomwire.association.tls import client_context
from dicomwire.diagnose.explain import explain
from dicomwire.doctor import examination, sniff
from dicomwire.doctor.examination import examine
from dicomwire.doctor.html import page
from dicomwire.doctor.options import ExaminationOptions, Target
from dicomwire.doctor.report import Report, Result
from dicomwire.doctor.text import report_lines
from dicomwire.upper_layer.items import UserIdentityRq
from dicomwire.upper_layer.negotiation import user_item
from dicomwire.upper_layer.pdu import Abort, AssociateRj, AssociateRq
from tests.association.support import entity
from tests.doctor.conftest import Certificates
from tests.doctor.fakes import (
    Behaviour,
    accepting,
    answer_to,
    closing,
    examined,
    listening,
    rejecting,
    request,
    saying,
    send,
    silent,
)


def code(report: Report) -> str:
    return report.verdict.code if report.verdict else "healthy"


def words(report: Report) -> str:
    return "\n".join(line.text for line in report_lines(report))


def named(report: Report, name: str) -> list[str]:
    return [step.words for step in report.steps if step.name == name]


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (silent, "association-no-answer"),
        (closing, "tcp-closed-before-answer"),
        (saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), "http-server-on-port"),
        (saying(b"<html><body>400 Bad Request</body></html>"), "http-server-on-port"),
        (saying(b"SSH-2.0-OpenSSH_9.6\r\n", first=True), "ssh-on-port"),
        (saying(b"\x0bMSH|^~\\&|LAB\rMSA|AR|1\r\x1c\r"), "hl7-on-port"),
        (saying(b"220 mail.example ESMTP\r\n", first=True), "not-dicom"),
        (saying(bytes.fromhex("15030100020246")), "plain-client-on-tls-port"),
        (rejecting(AssociateRj(1, 1, 7)), "reject-called-ae-title"),
        (rejecting(AssociateRj(1, 1, 3)), "reject-calling-ae-title"),
        (rejecting(AssociateRj(1, 1, 2)), "reject-application-context"),
        (rejecting(AssociateRj(1, 2, 2)), "reject-protocol-version"),
        (rejecting(AssociateRj(2, 3, 1)), "reject-congestion"),
        (rejecting(AssociateRj(2, 3, 2)), "reject-local-limit"),
        (rejecting(AssociateRj(1, 1, 1)), "reject-no-reason"),
        (accepting(1), "context-refused"),
        (accepting(3), "context-abstract-syntax"),
        (accepting(4), "context-transfer-syntax"),
        (accepting(), "healthy"),
    ],
)
async def test_each_kind_of_peer_gets_its_verdict_first(behaviour: Behaviour, expected: str) -> None:
    async with listening(behaviour) as port:
        report = await examined(port)
    assert code(report) == expected
    assert json.loads(json.dumps(report.as_json()))["code"] == (None if expected == "healthy" else expected)
    first = words(report).splitlines()[0]
    assert first.startswith("OK" if expected == "healthy" else "FAILED")
    if report.verdict is not None:
        assert report.verdict.summary in first
        assert report.verdict.fix.as_json()
        assert report.verdict.summary.replace("'", "&#x27;") in page(report)


async def test_stopped_peer_refuses_the_connection(closed_port: int) -> None:
    report = await examined(closed_port)
    assert code(report) == "tcp-refused"
    assert [(step.name, step.result) for step in report.steps] == [
        ("resolve", Result.OK),
        ("connect", Result.FAILED),
    ]


async def test_name_without_an_address() -> None:
    report = await examined(104, host="no-such-host.invalid", wait=3.0)
    assert code(report) == "name-not-resolved"
    assert "no-such-host.invalid" in words(report).splitlines()[0]


async def test_slow_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sniff, "_look_up", lambda *given: None)
    report = await examined(104, host="slow.invalid", wait=0.1)
    assert code(report) == "name-not-resolved"
    assert report.seconds < 1


async def test_port_that_swallows_connection_requests_does_not_answer() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        try:
            report = await examined(port, wait=0.3)
        finally:
            for each in waiting:
                each.close()
    assert code(report) == "tcp-no-answer"


async def test_web_server_that_waits_for_its_request_line_is_found_by_one() -> None:
    async def behave(reader, writer) -> None:  # type: ignore[no-untyped-def]
        line = await reader.readline()
        writer.write(b"HTTP/1.0 501 Unsupported\r\n\r\n" if b"HTTP" in line else b"")
        await reader.read(1)

    async with listening(behave) as port:
        report = await examined(port)
    assert code(report) == "http-server-on-port"
    assert named(report, "sniff") == ["the port speaks HTTP"]


async def test_silent_peer_takes_less_than_ten_seconds_with_the_budgets_of_every_day() -> None:
    """Three steps of 3 s are the most; measured here with a tenth of that."""
    async with listening(silent) as port:
        report = await examined(port, wait=0.3)
    assert report.seconds < 1.0
    assert examination.STEPS_WAITED * ExaminationOptions().wait < 10


async def test_called_ae_title_in_another_case_is_found_and_advised() -> None:
    unless = lambda asked: asked.called_ae_title == "store"  # noqa: E731
    async with listening(rejecting(AssociateRj(1, 1, 7), unless)) as port:
        report = await examined(port)
    assert code(report) == "reject-called-ae-title"
    assert report.verdict is not None
    assert report.verdict.fix.requestor.startswith("Set the called AE title to store:")


async def test_calling_ae_title_that_is_known_is_found_and_advised() -> None:
    unless = lambda asked: asked.calling_ae_title == "STORESCU"  # noqa: E731
    async with listening(rejecting(AssociateRj(1, 1, 3), unless)) as port:
        report = await examined(port)
    assert report.verdict is not None
    assert report.verdict.fix.requestor.startswith("Set the calling AE title to STORESCU:")


async def test_identity_that_is_refused_is_tried_without() -> None:
    def anonymous(asked: AssociateRq) -> bool:
        return user_item(asked.user_information, UserIdentityRq) is None

    async with listening(rejecting(AssociateRj(1, 2, 1), anonymous)) as port:
        report = await examined(port, identity=username_and_passcode("u", "wrong"))
    assert code(report) == "reject-user-identity"
    assert named(report, "variant: without user identity") == ["accepted: Verification SOP Class"]


async def test_peer_that_wants_more_than_verification_is_understood() -> None:
    unless = lambda asked: len(asked.presentation_contexts) > 3  # noqa: E731
    async with listening(rejecting(AssociateRj(1, 1, 1), unless)) as port:
        report = await examined(port)
    assert code(report) == "reject-no-reason"
    assert report.verdict is not None
    assert "CT Image Storage" in report.verdict.fix.requestor


async def test_healthy_peer_is_told_which_titles_it_takes() -> None:
    unless = lambda asked: asked.called_ae_title == "STORE"  # noqa: E731
    async with listening(rejecting(AssociateRj(1, 1, 7), unless)) as port:
        report = await examined(port)
    assert code(report) == "healthy"
    assert "does not answer to that AE title" in named(report, "variant: called store")[0]


async def test_what_went_over_the_wire_is_a_capture_that_explain_reads() -> None:
    async with listening(rejecting(AssociateRj(1, 1, 3))) as port:
        _, capture = await examine(Target("127.0.0.1", port, "STORE"), ExaminationOptions(wait=0.5))
    stories = explain("doctor.pcapng", [capture]).stories
    assert {story.verdict.code for story in stories if story.verdict} == {"reject-calling-ae-title"}
    assert len(stories) > 1


# -- TLS


async def test_healthy_peer_over_tls(certificates: Certificates) -> None:
    async with listening(accepting(), certificates.server()) as port:
        report = await examined(port, tls=client_context(ca=certificates.ca))
    assert code(report) == "healthy"
    assert named(report, "tls") == ["handshake complete"]


@pytest.mark.parametrize(
    ("names", "expired", "client", "trusted", "expected"),
    [
        ((), False, False, False, "tls-untrusted-certificate"),
        ((), True, False, True, "tls-expired-certificate"),
        (("pacs.example",), False, False, True, "tls-name-mismatch"),
        ((), False, True, True, "tls-client-certificate-required"),
    ],
)
async def test_tls_that_fails_says_why(
    certificates: Certificates,
    names: tuple[str, ...],
    expired: bool,
    client: bool,
    trusted: bool,
    expected: str,
) -> None:
    server = certificates.server(*names, expired=expired, client=client)
    context = client_context(ca=certificates.ca) if trusted else client_context()
    async with listening(accepting(), server) as port:
        report = await examined(port, tls=context)
    assert code(report) == expected
    assert named(report, "tls")


async def test_alerts_of_a_tls_1_3_peer_that_wants_a_certificate(certificates: Certificates) -> None:
    options = AcceptorOptions((entity("STORE"),), port=0, tls=certificates.server(client=True))
    acceptor = Acceptor(options, {})
    await acceptor.start()
    try:
        report = await examined(acceptor.port, tls=client_context(ca=certificates.ca))
    finally:
        await acceptor.stop(0)
    assert code(report) == "tls-client-certificate-required"
    assert report.verdict is not None
    assert "certificate required" in report.verdict.summary


async def test_tls_1_2_peer_that_wants_a_certificate(certificates: Certificates) -> None:
    server = certificates.server(client=True)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(accepting(), server) as port:
        report = await examined(port, tls=client_context(ca=certificates.ca))
    assert code(report) == "tls-client-certificate-required"


async def test_tls_without_a_common_version(certificates: Certificates) -> None:
    server = certificates.server()
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    context = client_context(ca=certificates.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(accepting(), server) as port:
        report = await examined(port, tls=context)
    assert code(report) == "tls-no-common-version"


async def test_plain_dicom_to_a_tls_port(certificates: Certificates) -> None:
    async with listening(accepting(), certificates.server()) as port:
        report = await examined(port)
    assert code(report) == "plain-client-on-tls-port"
    assert "TLS" in named(report, "sniff")[0]


@pytest.mark.parametrize("behaviour", [accepting(), silent])
async def test_tls_to_a_port_without(certificates: Certificates, behaviour: Behaviour) -> None:
    async with listening(behaviour) as port:
        report = await examined(port, tls=client_context(ca=certificates.ca))
    expected = "association-no-answer" if behaviour is silent else "tls-client-on-plain-port"
    assert code(report) == expected


async def test_peer_that_accepted_an_association_is_not_asked_what_it_speaks() -> None:
    async def behave(reader, writer) -> None:  # type: ignore[no-untyped-def]
        send(writer, answer_to(await request(reader)))
        await reader.read(4_096)
        send(writer, Abort(0, 0))

    async with listening(behave) as port:
        report = await examined(port)
    assert code(report) == "abort-before-response"
    assert named(report, "sniff") == []
