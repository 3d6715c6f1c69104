"""What holds for every test."""

from __future__ import annotations

import os

# A developer's own settings must not decide what a test sees.
for name in [name for name in os.environ if name.upper().startswith("DICOMWIRE_")]:
    del os.environ[name]
