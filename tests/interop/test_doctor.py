"""The doctor at real peers: healthy ones, and what they say no to."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.receivers import DcmQRSCP, Orthanc, free_port
from dicomwire.diagnose.explain import explain
from dicomwire.diagnose.finding import Outcome
from dicomwire.diagnose.trace import HEAD
from dicomwire.doctor.examination import examine
from dicomwire.doctor.options import ExaminationOptions, Target
from dicomwire.doctor.proxy import Proxy, ProxyOptions
from dicomwire.doctor.report import Report, Result
from dicomwire.doctor.script import read
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from tests.interop.conftest import BitPreservingStoreSCP, StartNode
from tests.interop.network import CLIENT, SERVER, SERVER_ADDRESS, Network
from tests.interop.recording import require_recording
from tests.interop.scenes import stage as scenes

CT, SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def examined(port: int, called: str, **options: object) -> Report:
    given = ExaminationOptions(**options)  # type: ignore[arg-type]
    report, _ = asyncio.run(examine(Target("127.0.0.1", port, called), given))
    return report


def results(report: Report) -> dict[str, Result]:
    return {step.name: step.result for step in report.steps if not step.name.startswith("variant")}


def test_storescp_works_stores_and_does_not_query(storescp: BitPreservingStoreSCP) -> None:
    report = examined(storescp.dimse_port, "STORESCP", store=True, query=True)
    assert results(report)["echo"] is Result.OK
    assert results(report)["store"] is Result.OK
    assert results(report)["query"] is Result.FAILED
    assert report.verdict is not None
    assert report.verdict.code == "context-abstract-syntax"
    assert "DCMTK" in report.healthy
    assert report.story is not None
    assert report.story.negotiation[0].abstract_syntax == STUDY_ROOT_FIND


def test_storescp_tells_its_capabilities(storescp: BitPreservingStoreSCP) -> None:
    matrix = examined(storescp.dimse_port, "STORESCP", matrix=True).matrix
    assert matrix is not None
    assert not matrix.incomplete
    rows = {row.abstract_syntax: row for row in matrix.rows}
    assert EXPLICIT_VR_LITTLE_ENDIAN in rows[CT].accepted
    assert rows[VERIFICATION].accepted
    assert rows[STUDY_ROOT_FIND].accepted == ()


def test_dcmqrscp_knows_neither_a_strange_title_nor_where_we_are(dcmqrscp: DcmQRSCP) -> None:
    strange = examined(dcmqrscp.dimse_port, "NOBODY")
    assert strange.verdict is not None
    assert strange.verdict.code == "reject-called-ae-title"
    report = examined(dcmqrscp.dimse_port, dcmqrscp.ae_title, query=True)
    assert results(report)["query"] is Result.OK


def test_orthanc_stores_and_lets_only_known_devices_query(orthanc: Orthanc) -> None:
    report = examined(orthanc.dimse_port, "ORTHANC", store=True, query=True)
    assert [results(report)[name] for name in ("echo", "store")] == [Result.OK] * 2
    assert report.verdict is not None
    assert report.verdict.code == "query-not-allowed"


def test_our_own_node_stores_finds_and_moves_back(start_node: StartNode, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "dicomwire.toml"
    config.write_text(f'[[peers]]\nae_title = "DICOMWIRE"\nhost = "127.0.0.1"\nport = {port}\n')
    node = start_node("--config", str(config))
    report = examined(node.dimse_port, node.ae_title, query=True, move_port=port)
    assert report.verdict is None
    assert results(report)["move"] is Result.OK
    unknown = examined(node.dimse_port, node.ae_title, move_port=port, calling_ae_title="NOBODY", query=False)
    assert unknown.verdict is not None
    assert unknown.verdict.code == "move-destination-unknown"
    assert results(unknown)["store"] is Result.OK


def test_pynetdicom_that_wants_its_own_title_is_called_by_it() -> None:
    from pynetdicom import AE

    entity = AE(ae_title="PYNETDICOM")
    entity.require_called_aet = True
    entity.require_calling_aet = ["KNOWN"]
    entity.add_supported_context(VERIFICATION)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    port = server.server_address[1]
    try:
        codes = [
            examined(port, called, calling_ae_title=calling).as_json()["code"]
            for called, calling in (("NOBODY", "KNOWN"), ("PYNETDICOM", "STRANGER"), ("PYNETDICOM", "KNOWN"))
        ]
    finally:
        server.shutdown()
    assert codes == ["reject-called-ae-title", "reject-calling-ae-title", None]


def test_storescu_through_the_proxy_is_recorded_and_refused_by_script(
    storescp: BitPreservingStoreSCP, dcmtk: None
) -> None:
    record = bytearray(HEAD)
    script = read('{"fault": [{"on": "A-ASSOCIATE-RQ", "action": "refuse", "connections": [2]}]}', "s.json")

    async def through() -> list[int]:
        options = ProxyOptions(
            port=0, target_host="127.0.0.1", target_port=storescp.dimse_port, script=script
        )
        proxy = Proxy(options, record=record.extend)
        await proxy.start()
        codes = []
        for _ in range(2):
            client = await asyncio.create_subprocess_exec("echoscu", "127.0.0.1", str(proxy.port))
            codes.append(await client.wait())
        await proxy.stop()
        return codes

    first, second = asyncio.run(through())
    assert first == 0
    assert second != 0
    well, refused = explain("proxy", [bytes(record)]).stories
    assert well.outcome is Outcome.OK
    assert refused.verdict is not None
    assert refused.verdict.code == "reject-no-reason"


def test_a_narrow_way_is_found_by_what_still_gets_through(tmp_path: Path) -> None:
    require_recording("ip")
    with Network(tmp_path) as network, ExitStack() as stack:
        network.narrow()
        with network.inside(SERVER):
            port = scenes.storescp(stack, tmp_path, "--disable-host-lookup", "--fork")
        with network.inside(CLIENT):
            report, _ = asyncio.run(
                examine(Target(SERVER_ADDRESS, port, "STORESCP"), ExaminationOptions(store=True, wait=1.0))
            )
    assert results(report)["echo"] is Result.OK
    assert report.verdict is not None
    assert report.verdict.code == "path-mtu"
    assert report.story is not None
    assert report.story.verdict == report.verdict


@pytest.mark.parametrize(
    ("fault", "code"),
    [("blackhole", "tcp-no-answer"), ("unreachable", "icmp-unreachable"), ("prohibit", "icmp-unreachable")],
)
def test_what_the_network_says_is_told_in_time(fault: str, code: str, tmp_path: Path) -> None:
    require_recording("ip")
    with Network(tmp_path) as network:
        network.refuse("10.77.2.9", fault)
        with network.inside(CLIENT):
            report, _ = asyncio.run(examine(Target("10.77.2.9", 104, "PACS"), ExaminationOptions()))
    assert report.verdict is not None
    assert report.verdict.code == code
    assert report.seconds < 10
