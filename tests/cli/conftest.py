"""Commands run in this process, as the shell would run them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from dicomwire.cli.main import main


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said and how it ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Run `dicomwire` with arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level

    def call(*arguments: str | Path) -> Result:
        monkeypatch.setattr("sys.argv", ["dicomwire", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        return Result(code if isinstance(code, int) else 0 if code is None else 1, said.out, said.err)

    yield call
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
