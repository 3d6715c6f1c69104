"""The rows of the benchmark: what is sent, how, to whom, and what this node has to reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MEMORY_LIMIT = 200_000_000  # bytes of peak resident memory, of all this node's processes added up


class Client(StrEnum):
    """Who sends or asks."""

    RAW = "raw"  # benchmarks.load.send_raw
    STORESCU = "storescu"  # with TCP_NODELAY=1
    DEFAULT_STORESCU = "default storescu"  # Nagle's algorithm on, as it ships
    STOW = "STOW-RS"
    WADO = "WADO-RS"
    FRAMES = "WADO-RS frames"
    RENDERED = "WADO-RS rendered"
    MOVE = "C-MOVE"
    GET = "C-GET"
    ECHO = "association, C-ECHO, release"


@dataclass(frozen=True, slots=True)
class Row:
    """One load, the receivers that get it, and the ratios of rates to reach against some of them."""

    name: str
    title: str
    data_set: str
    client: Client
    receivers: tuple[str, ...]
    associations: int = 1
    contexts: int = 1  # presentation contexts of each association, for Client.ECHO
    count: int | None = None  # instances, all of the set by default
    stalled_count: int | None = None  # instances for every receiver but this node, where the others stall
    targets: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)  # CPU an instance at most, as a ratio
    optional: bool = False  # runs only when named
    memory: int = MEMORY_LIMIT

    @property
    def retrieval(self) -> bool:
        """Whether a study is stored first and then retrieved over DIMSE."""
        return self.client in (Client.MOVE, Client.GET)

    @property
    def by_bytes(self) -> bool:
        """Whether the rate that counts is bytes, not instances, a second."""
        return self.client is Client.WADO or self.data_set in ("large", "huge")


ALL = ("dicomwire", "orthanc", "storescp")
ARCHIVES = ("dicomwire", "orthanc", "dcmqrscp", "qrscp")
ROWS = {
    each.name: each
    for each in (
        Row(
            "small-8",
            "10 KB, 8 associations",
            "small",
            Client.RAW,
            ALL,
            associations=8,
            targets={"orthanc": 3.5, "storescp": 1.5},
        ),
        Row(
            "ct-8",
            "525 KB, 8 associations",
            "ct",
            Client.RAW,
            ALL,
            associations=8,
            targets={"orthanc": 2.2, "storescp": 0.7},
        ),
        Row("small-1", "10 KB, 1 association", "small", Client.RAW, ALL, targets={"orthanc": 2.0}),
        Row("ct-1", "525 KB, 1 association", "ct", Client.RAW, ALL),
        Row("large-1", "3 of 200 MB, 1 association", "large", Client.RAW, ALL),
        Row("large-3", "3 of 200 MB, 3 associations", "large", Client.RAW, ALL, associations=3),
        Row(
            "nagle",
            "10 KB, storescu as it ships (Nagle on)",
            "small",
            Client.DEFAULT_STORESCU,
            (*ALL, "dcmqrscp"),
            stalled_count=40,
            targets={"orthanc": 50.0, "storescp": 50.0, "dcmqrscp": 50.0},
        ),
        Row(
            "wado",
            "WADO-RS of a study of 500 CT",
            "ct",
            Client.WADO,
            ("dicomwire", "orthanc"),
            targets={"orthanc": 2.0},
        ),
        Row(
            "frames",
            "WADO-RS of single frames of 500 CT, 8 connections",
            "ct",
            Client.FRAMES,
            ("dicomwire", "orthanc"),
            associations=8,
            targets={"orthanc": 4.0},
        ),
        Row(
            "rendered",
            "rendered JPEG of 500 CT, 8 connections",
            "ct",
            Client.RENDERED,
            ("dicomwire", "orthanc"),
            associations=8,
            targets={"orthanc": 1.2},
            memory=250_000_000,  # two processes decode
        ),
        Row(
            "move",
            "C-MOVE of 500 CT into storescp --fork --ignore",
            "ct",
            Client.MOVE,
            ARCHIVES,
            targets={"orthanc": 1.7, "dcmqrscp": 1.4, "qrscp": 10.0},
            costs={"dcmqrscp": 1.3},
        ),
        Row(
            "get",
            "C-GET of 500 CT into a sink",
            "ct",
            Client.GET,
            ARCHIVES,
            targets={"orthanc": 1.7, "dcmqrscp": 1.4, "qrscp": 10.0},
            costs={"dcmqrscp": 1.3},
        ),
        Row("echo-1", "association of 1 context, echo, release", "", Client.ECHO, ALL, count=500),
        Row(
            "echo-128",
            "association of 128 contexts, echo, release",
            "",
            Client.ECHO,
            ALL,
            contexts=128,
            count=500,
            targets={"orthanc": 2.0, "storescp": 5.0},
        ),
        Row("stow-ct", "STOW-RS of 500 CT in one request", "ct", Client.STOW, ("dicomwire", "orthanc")),
        Row(
            "storescu-small-8",
            "10 KB, 8 storescu with TCP_NODELAY",
            "small",
            Client.STORESCU,
            ALL,
            associations=8,
            optional=True,
        ),
        Row(
            "storescu-ct-8",
            "525 KB, 8 storescu with TCP_NODELAY",
            "ct",
            Client.STORESCU,
            ALL,
            associations=8,
            optional=True,
        ),
        Row("huge-dimse", "one of 4 GB, 1 association", "huge", Client.RAW, ("dicomwire",), optional=True),
        Row(
            "huge-move",
            "C-MOVE of one of 4 GB",
            "huge",
            Client.MOVE,
            ("dicomwire",),
            optional=True,
        ),
        Row("huge-get", "C-GET of one of 4 GB", "huge", Client.GET, ("dicomwire",), optional=True),
        Row("huge-stow", "one of 4 GB, STOW-RS", "huge", Client.STOW, ("dicomwire",), optional=True),
    )
}
