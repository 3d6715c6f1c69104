"""A peer's text made fit for a log line."""

from __future__ import annotations

LONGEST = 512  # characters


def printable(text: str) -> str:
    """The text with all but printable ASCII escaped, and cut where it is very long."""
    if len(text) > LONGEST:
        text = text[:LONGEST] + "..."
    if text.isascii() and text.isprintable():
        return text
    return text.encode("unicode_escape").decode("ascii")
