"""Coverage-guided fuzzing of captures: `python tests/fuzz/fuzz_capture.py -max_total_time=600`.

Needs atheris. The corpus begins with the captures of the rules' scenarios; further arguments are libFuzzer's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["dicomwire"]):
    from dicomwire.diagnose.decode import decode
    from dicomwire.diagnose.explain import explain
    from dicomwire.diagnose.html import page
    from dicomwire.diagnose.text import explanation_lines
    from dicomwire.errors import CaptureError

from tests.diagnose.scenarios import BESIDE, SCENARIOS


def one_input(data: bytes) -> None:
    """Whatever the bytes are, there is an explanation; any exception is a defect."""
    explanation = explain("fuzz", [data[:100], data[100:]])
    assert explanation.exit_status in (0, 1, 2, 3)
    explanation.as_json()
    page([explanation])
    for line in explanation_lines(explanation, everything=True):
        line.text.encode()
    with suppress(CaptureError):
        for record in decode([data]):
            json.dumps(record)


def main() -> None:
    """Fuzz until libFuzzer's arguments say stop."""
    with tempfile.TemporaryDirectory() as corpus:
        for code, build in (SCENARIOS | BESIDE).items():
            (Path(corpus) / code).write_bytes(build().pcap())
        atheris.Setup([*sys.argv, "-max_len=65536", corpus], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
