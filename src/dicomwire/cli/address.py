"""Where a command goes: `AE@HOST:PORT` for DIMSE, a URL for DICOMweb."""

from __future__ import annotations

from dicomwire.association.address import EXAMPLE, Address, AddressError, parse

__all__ = ["EXAMPLE", "Address", "AddressError", "is_url", "parse"]


def is_url(text: str) -> bool:
    """Whether a destination is a DICOMweb service."""
    return text.lower().startswith(("http://", "https://"))
