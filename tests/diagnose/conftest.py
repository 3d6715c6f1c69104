"""What tests of the diagnosis share."""

from __future__ import annotations

import os

# Example captures are not part of the project: these tests are for who has some.
collect_ignore = [] if "EXAMPLE_CAPTURES" in os.environ else ["test_golden.py"]
