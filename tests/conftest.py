"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog

# A developer's own settings must not decide what a test sees.
for name in [name for name in os.environ if name.upper().startswith("DICOMWIRE_")]:
    del os.environ[name]


@pytest.fixture(autouse=True)
def unconfigured_log() -> Iterator[None]:
    """What a test says of the log is not for the next one."""
    yield
    structlog.reset_defaults()
