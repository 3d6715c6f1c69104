from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from dicomwire.association.requestor import MOST_CONTEXTS
from dicomwire.cli.main import app
from dicomwire.diagnose.compare import of_matrix
from dicomwire.doctor.html import page
from dicomwire.doctor.text import report_lines
from dicomwire.uids import IMPLICIT_VR_LITTLE_ENDIAN, SOP_CLASSES, VERIFICATION
from dicomwire.upper_layer.pdu import AssociateRj, AssociateRq
from tests.doctor.fakes import accepting, examined, listening, rejecting

CT = "1.2.840.10008.5.1.4.1.1.2"


async def test_peer_that_accepts_everything_is_asked_for_every_sop_class() -> None:
    async with listening(accepting()) as port:
        report = await examined(port, matrix=True)
    matrix = report.matrix
    assert matrix is not None
    assert {row.abstract_syntax for row in matrix.supported} == set(SOP_CLASSES)
    assert matrix.incomplete == ""
    row = next(row for row in matrix.rows if row.abstract_syntax == CT)
    assert len(row.accepted) > 30
    assert any("CT Image Storage" in line.text for line in report_lines(report))
    assert "CT Image Storage" in page(report)


async def test_matrix_in_json_is_what_compare_reads() -> None:
    async with listening(accepting()) as port:
        report = await examined(port, matrix=True)
    subject = of_matrix("a.json", json.loads(json.dumps(report.as_json())))
    assert (CT, IMPLICIT_VR_LITTLE_ENDIAN) in subject.contexts


async def test_every_batch_has_verification_and_peers_without_patience_are_left_alone() -> None:
    asked: list[AssociateRq] = []

    def few(request: AssociateRq) -> bool:
        asked.append(request)
        return len(request.presentation_contexts) < 20

    async with listening(rejecting(AssociateRj(2, 3, 2), few)) as port:
        report = await examined(port, matrix=True)
    batches = [one for one in asked if len(one.presentation_contexts) >= 20]
    assert len(batches) == 2
    assert {one.presentation_contexts[0].abstract_syntax for one in batches} == {VERIFICATION}
    assert max(len(one.presentation_contexts) for one in batches) == MOST_CONTEXTS
    assert report.matrix is not None
    assert "limit" in report.matrix.incomplete


def test_the_command_exits_with_1_and_writes_its_files(tmp_path: Path) -> None:
    record, html = tmp_path / "d.pcapng", tmp_path / "d.html"
    result = CliRunner().invoke(
        app, ["doctor", "127.0.0.1:1", "--json", "--record", str(record), "--html", str(html)]
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout)["code"] == "tcp-refused"
    assert record.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    assert "nobody listens" in html.read_text()
