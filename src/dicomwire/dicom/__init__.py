"""Data sets: their encoding, dictionary, JSON and files (PS3.5, PS3.6, PS3.10, PS3.18 F)."""
