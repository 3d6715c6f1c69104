"""Every example of docs/library.md and of the README runs, against a node in another thread."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import dicomwire
from benchmarks.receivers import free_port
from dicomwire.node.node import Node
from dicomwire.node.settings import Settings
from tests.elsewhere import Elsewhere

NOT_FOR_EVERYBODY = ("Archive", "Association", "UpperLayer", "__version__")  # in architecture.md
ROOT = Path(__file__).parents[1]
EXAMPLES = [
    pytest.param(match[1], id=f"{page}-{number}")
    for page in ("docs/library.md", "README.md")
    for number, match in enumerate(re.finditer(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))
]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What stands in the examples, and in its place: the DIMSE port of a node, and that of its peer HERE."""
    folder = tmp_path_factory.mktemp("node")
    here = free_port()
    settings = Settings.model_validate(
        {
            "node": {"data": str(folder)},
            "dimse": {"port": 0},
            "web": {"port": 0},
            "peers": [{"ae_title": "HERE", "host": "127.0.0.1", "port": here}],
        }
    )

    async def begin() -> Node:
        node = Node(settings)
        await node.start()
        return node

    elsewhere = Elsewhere()
    node = elsewhere.run(begin())
    try:
        facts = node.facts()
        yield {"11112": str(facts.dimse.port), "11113": str(here), "8080": str(facts.web.port)}
    finally:
        elsewhere.run(node.stop())
        elsewhere.close()


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_as_it_stands(
    example: str, ports: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name, copies in {"CT_small.dcm": (".", "folder"), "MR_small.dcm": (".", "folder")}.items():
        bundled = get_testdata_file(name)
        assert isinstance(bundled, str)
        for each in copies:
            shutil.copy(bundled, each)
    assert any(place in example for place in ("11112", "8080", "acceptor.port", "10.0.0.5"))
    lines = reduce(lambda text, pair: text.replace(*pair), ports.items(), example)
    exec(compile(f"import dicomwire\n{lines}", "example", "exec"), {"__name__": "example"})


def test_the_page_names_every_public_call() -> None:
    page = (ROOT / "docs" / "library.md").read_text()
    for name in ("Client", "BlockingClient"):
        calls = [each for each in vars(getattr(dicomwire, name)) if not each.startswith("_")]
        assert [each for each in calls if each not in page] == []
    assert [each for each in dicomwire.__all__ if each not in page and each not in NOT_FOR_EVERYBODY] == []
