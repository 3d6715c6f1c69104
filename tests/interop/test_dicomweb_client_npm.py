"""The npm package dicomweb-client, unchanged, against this node's web door."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from tests.interop.support import Node

SCRIPT = Path(__file__).with_name("dicomweb_client.cjs")
PACKAGES = ("dicomweb-client@0.11.3", "xhr2@0.2.1")
SECONDS = 120.0


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client and the XMLHttpRequest that it takes for granted."""
    if shutil.which("npm") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("missing npm")
        pytest.skip("missing npm")
    folder = tmp_path_factory.mktemp("npm")
    options = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefix", str(folder)]
    subprocess.run(["npm", "install", *options, *PACKAGES], check=True, timeout=SECONDS, capture_output=True)
    return folder


def test_store_search_retrieve_and_render(node: Node, packages: Path) -> None:
    path = str(get_testdata_file("CT_small.dcm"))
    command = ["node", str(SCRIPT), str(packages), node.url(""), path]
    done = subprocess.run(command, timeout=SECONDS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout.splitlines()[-1])  # the client chats
    expected = pydicom.dcmread(path)
    assert got["uids"] == {
        "studyInstanceUID": expected.StudyInstanceUID,
        "seriesInstanceUID": expected.SeriesInstanceUID,
        "sopInstanceUID": expected.SOPInstanceUID,
    }
    assert got["found"] == 1
    assert len(set(got["metadata"])) == 1
    (file,) = set(got["files"])
    resource = "/studies/{studyInstanceUID}/series/{seriesInstanceUID}/instances/{sopInstanceUID}"
    assert file == sha256(node.get(resource.format(**got["uids"]), "application/dicom").body).hexdigest()
    assert got["pixels"] == [sha256(expected.PixelData).hexdigest()] * 2
    assert got["png"] == b"\x89PNG".hex()
    assert got["jpegs"] == ["ffd8ff"] * 3
