"""Explains captures, recorded traces and probes: what happened, whose side, why, what to change. No I/O."""
