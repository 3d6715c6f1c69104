"""Associations over TCP and TLS (PS3.8 9): the only place where DIMSE meets a socket."""
