"""DIMSE messages without I/O (PS3.7; PS3.8 E): command sets, their fragments, and status codes."""
