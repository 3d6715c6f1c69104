"""What a node refuses to serve: a public address that anybody may use, unless told so; what it cannot yet."""

from __future__ import annotations

import ipaddress

from dicomwire.node.settings import Settings


def refusals(settings: Settings) -> tuple[str, ...]:
    """Why these settings must not be served, one line a door; nothing when they may.

    A public address is any that is no loopback address, names other than localhost included. What protects a
    door: TLS, a required login, or, for DIMSE, a list of calling AE titles.
    """
    if settings.node.open:
        return ()
    dimse, web = settings.dimse, settings.web
    protected = settings.identity.required
    listed = bool(settings.peers) and dimse.calling_ae_title != "off"
    reasons = []
    if not (is_loopback(dimse.host) or protected or listed or dimse.tls.enabled):
        reasons.append(
            f"dimse.host {dimse.host} is a public address and nothing says who may use it: name the AE "
            "titles in [[peers]], set up TLS (dimse.tls), require a login (identity.required), or say --open"
        )
    if not (is_loopback(web.host) or protected or web.tls.enabled):
        reasons.append(
            f"web.host {web.host} is a public address and nothing says who may use it: set up TLS (web.tls), "
            "require a login (identity.required), or say --open"
        )
    if settings.hl7.port is not None and not is_loopback(settings.hl7.host):
        reasons.append(
            f"hl7.host {settings.hl7.host} is a public address and HL7 knows no login: have it come to"
            " 127.0.0.1 by way of what protects it, or say --open"
        )
    return tuple(reasons)


def unavailable(settings: Settings) -> tuple[str, ...]:
    """Settings that this version cannot serve, one line each: better refused than passed over."""
    node, archive = settings.node, settings.archive
    asked = (
        (node.workers != 1, f"node.workers is {node.workers}: only 1 is possible"),
        (archive.catalogue != "sqlite", "archive.catalogue: only sqlite is possible"),
        (archive.segments != "files", "archive.segments: only files are possible"),
    )
    return tuple(f"{words} in this version" for wanted, words in asked if wanted)


def is_loopback(host: str) -> bool:
    """Whether a host can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
