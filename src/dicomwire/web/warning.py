"""Warning headers: what of a request was not done, in words (RFC 7234 5.5, PS3.18 8.3.4, 8.3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_WARNING_LIMIT: Final = 10  # values of one answer


def warning_header(warnings: Sequence[str]) -> dict[str, str]:
    """Warning 299 (RFC 7234 5.5), text in ASCII without quotes."""
    texts = [ascii(text)[1:-1].replace("\\", "").replace('"', "'") for text in warnings[:_WARNING_LIMIT]]
    return {"Warning": ", ".join(f'299 dicomwire "{text}"' for text in texts)} if texts else {}
