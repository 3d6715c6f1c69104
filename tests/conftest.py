"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

# A developer's own settings must not decide what a test sees.
for name in [name for name in os.environ if name.upper().startswith("DICOMWIRE_")]:
    del os.environ[name]


@pytest.fixture(autouse=True, scope="session")
def forgetful_loggers() -> Iterator[None]:
    """No logger remembers the configuration under which it was used first, so that no test has another's."""
    configure = structlog.configure

    def forgetful(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(structlog, "configure", forgetful)
        yield


@pytest.fixture(autouse=True)
def unconfigured_log() -> Iterator[None]:
    """What a test says of the log is not for the next one."""
    yield
    structlog.reset_defaults()
