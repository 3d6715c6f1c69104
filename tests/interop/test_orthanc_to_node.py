"""Orthanc as the device that pushes to this node."""

from __future__ import annotations

import json
import urllib.request

from benchmarks.receivers import Orthanc
from tests.interop.support import EXPLICIT_LE, Node, bundled_files, differences, generations, read


def test_orthanc_echoes_and_pushes_what_it_holds(node: Node, orthanc: Orthanc) -> None:
    files = {
        each.sop_instance_uid: each
        for each in generations(bundled_files())[0]
        if each.transfer_syntax_uid == EXPLICIT_LE and each.sop_class_uid.endswith((".1.2", ".1.4"))
    }
    for each in files.values():
        _post(orthanc, "/instances", each.path.read_bytes())
    with urllib.request.urlopen(f"http://127.0.0.1:{orthanc.http_port}/instances") as answer:
        held = json.load(answer)
    assert len(held) == len(files)
    modality = {"AET": node.ae_title, "Host": "127.0.0.1", "Port": node.dimse_port}
    _post(orthanc, "/modalities/node", json.dumps(modality).encode(), method="PUT")
    _post(orthanc, "/modalities/node/echo", b"{}")
    _post(orthanc, "/modalities/node/store", json.dumps(held).encode())
    assert set(node.instances()) == set(files)
    for each in files.values():
        assert differences(read(each.path), read(node.retrieve(each))) == [], each.path.name


def _post(orthanc: Orthanc, path: str, body: bytes, method: str = "POST") -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{orthanc.http_port}{path}", body, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200, answer.read()
