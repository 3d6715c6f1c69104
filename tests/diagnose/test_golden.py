"""Example captures with known causes, where EXAMPLE_CAPTURES names a folder of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dicomwire.diagnose.explain import explain
from dicomwire.diagnose.finding import Outcome

CAPTURES = Path(os.environ["EXAMPLE_CAPTURES"])
VERDICTS = {
    "f01_called_aet_unknown.pcap": "reject-called-ae-title",
    "f11_no_common_transfer_syntax.pcap": "context-transfer-syntax",
    "f16_port_speaks_http.pcap": "http-server-on-port",
    "f21_store_out_of_resources.pcap": "status-out-of-resources",
    "f36_no_dimse_response.pcap": "dimse-no-response",
    "f60_move_destination_rejects_archive.pcap": "move-destination-rejects",
}


def cases() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((CAPTURES / "truth.json").read_text())
    return found


@pytest.mark.parametrize("case", cases(), ids=lambda case: str(case["file"]))
def test_an_example_capture_is_explained_by_its_true_cause(case: dict[str, object]) -> None:
    file = str(case["file"])
    explanation = explain(file, [(CAPTURES / file).read_bytes()])
    story = explanation.stories[0]
    if case["ok"]:
        assert {one.outcome for one in explanation.stories} == {Outcome.OK}
        assert story.verdict is None
        assert explanation.exit_status == 0
    else:
        assert explanation.exit_status == 1
        assert story.verdict is not None
        assert story.verdict.code == VERDICTS[file]
    ports = {one.acceptor.port for one in explanation.stories}
    assert ports == set(case["dicom_ports"])  # type: ignore[call-overload]
