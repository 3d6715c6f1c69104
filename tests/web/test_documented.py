"""docs/dicomweb.md names tests that there are, for every route that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dicomweb.md").read_text()
NAMED = re.findall(r"`(\S+\.py)::(test_\w+)` \|$", PAGE, re.MULTILINE)
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| requirement")]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_test_that_is_named_is_there(file: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)


def test_what_is_done_has_a_test_and_what_is_not_has_none() -> None:
    assert len(ROWS) > 50
    for row in ROWS:
        _, requirement, _, done, test, _ = row.split("|")
        assert done.strip().startswith("yes") == bool(test.strip()), requirement
