"""What a node says of itself: one value that the page, `/api/node` and the ready line all show."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a node is in its life."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Door:
    """One address that the node listens on.

    Attributes:
        url: `dimse://host:port`, `dimse+tls://host:port`, `http://host:port` or `https://host:port`.
    """

    host: str
    port: int
    tls: bool
    url: str


@dataclass(frozen=True, slots=True)
class AssociationFacts:
    """One open association.

    Attributes:
        seconds: since it was accepted.
        performed: requests so far, by message.
        user: who is behind it, "" where nobody was named.
        identity: how that was presented, whether it was proved, what it says.
    """

    id: str
    calling_ae_title: str
    called_ae_title: str
    peer: str
    implementation_version_name: str
    seconds: float
    performed: dict[str, int]
    bytes_received: int
    bytes_sent: int
    user: str
    identity: dict[str, str]


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """One configured peer, without its secrets."""

    ae_title: str
    address: str
    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """What the archive holds: counts, and bytes of Part 10 files."""

    studies: int
    series: int
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Facts:
    """The node at one moment.

    Attributes:
        ae_titles: the node's own first.
        public_url: of the web door, as clients name it.
        dicomweb: URL of the DICOMweb service.
        started: when it became ready, ISO 8601, UTC.
        performed: DIMSE requests since then, by message.
        sent: instances sent in C-MOVE and C-GET since then, by how it ended.
        web_requests: HTTP requests since then, by class of status.
    """

    name: str
    version: str
    state: State
    ae_title: str
    ae_titles: tuple[str, ...]
    dimse: Door
    web: Door
    public_url: str
    dicomweb: str
    started: str
    uptime_seconds: float
    login_required: bool
    archive: ArchiveFacts
    jobs: dict[str, int]
    performed: dict[str, int]
    sent: dict[str, int]
    web_requests: dict[str, int]
    associations: tuple[AssociationFacts, ...]
    peers: tuple[PeerFacts, ...]


def location(host: str, port: int) -> str:
    """`host:port`, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str) -> str:
    """A host that a client on this machine can name, for one that stands for every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def hints(facts: Facts) -> tuple[tuple[str, str], ...]:
    """What to try next: what it does, and the command for it."""
    host, port = reachable(facts.dimse.host), facts.dimse.port
    tls = "+tla +cf CA-FILE " if facts.dimse.tls else ""
    trust = "--tls-ca CA-FILE " if facts.dimse.tls else ""
    title, study = shlex.quote(facts.ae_title), "StudyInstanceUID=STUDY-UID"
    dimse = f"{tls}-aec {title} {host} {port}"
    return (
        ("Is it there?", f"echoscu {dimse}"),
        ("Store files", f"storescu {dimse} FILE..."),
        ("Store a folder", f"dicomwire send {trust}{title}@{location(host, port)} FOLDER"),
        ("Query", f"dicomwire find {trust}{title}@{location(host, port)}"),
        ("Fetch a study", f"dicomwire get {trust}{title}@{location(host, port)} {study} -o FOLDER"),
        ("Store by STOW-RS", f"dicomwire send {facts.dicomweb} FOLDER"),
        ("Search", f"curl {facts.dicomweb}/studies"),
        ("Retrieve", f"curl -o study.multipart {facts.dicomweb}/studies/STUDY-UID"),
    )
