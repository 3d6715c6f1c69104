"""The values that go in and out of the archive.

The archive knows neither DIMSE nor HTTP: doors turn a Verdict into their own status codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """How an archive behaves.

    Attributes:
        duplicates: what happens to an instance whose UID is known with other content: `keep` both, the
            second as a conflict version; `replace` the first; `reject` the second.
        segment_size: bytes after which a new segment is begun.
        memory: bytes of instances under way, in all; beyond it `congested` is true.
        large: bytes from which an instance goes to a segment of its own, as it comes.
        free_space: bytes of disk that are kept free.
        depth_limit: nesting of sequences.
        inflate_limit: bytes that a deflated data set may inflate to.
        preamble: `zero` makes our own; `keep` takes a file's first bytes as they are when its preamble says
            something, as that of a file which is a TIFF as well does (PS3.10 7.1).
        writer: what writes: a `process` of its own, or a `thread` for those who open an archive for a moment.
        remembers_removed: what was removed is told from what was never there; of no use to a cache.
    """

    duplicates: Literal["keep", "replace", "reject"] = "keep"
    segment_size: int = 1 << 30
    memory: int = 32 << 20
    large: int = 1 << 20
    free_space: int = 64 << 20
    depth_limit: int = 64
    inflate_limit: int = 64 << 20
    preamble: Literal["zero", "keep"] = "zero"
    writer: Literal["thread", "process"] = "thread"
    remembers_removed: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an instance came from; kept with its record.

    Attributes:
        door: "dimse", "web" or "import".
        peer: "host:port" or a path's name.
    """

    door: str
    peer: str
    calling_ae_title: str = ""
    called_ae_title: str = ""


class Verdict(Enum):
    """What became of an instance that was offered."""

    STORED = auto()
    ALREADY_STORED = auto()
    REPLACED = auto()
    CONFLICT = auto()
    DUPLICATE_REJECTED = auto()
    MISMATCH = auto()
    NOT_UNDERSTOOD = auto()
    OUT_OF_RESOURCES = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict on one instance, with words that name no patient."""

    verdict: Verdict
    comment: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    record_id: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """One instance of a plan: what it is and where it lies.

    Attributes:
        record_id: its identity, never used again for other bytes.
        length: bytes of the Part 10 file.
        data_set_offset: bytes of preamble and file meta information in it.
        pixel_data_offset, pixel_data_length: of the value in the data set; length None when encapsulated.
    """

    record_id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    length: int
    data_set_offset: int
    segment: int
    offset: int
    rows: int | None
    columns: int | None
    bits_allocated: int | None
    samples_per_pixel: int | None
    number_of_frames: int
    pixel_data_offset: int | None
    pixel_data_length: int | None
    crc: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What an archive holds; bytes_live is what its current instances and conflict versions take."""

    studies: int
    series: int
    instances: int
    conflicts: int
    segments: int
    bytes_stored: int
    bytes_live: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are not what was stored."""

    segment: str
    offset: int
    reason: str
    sop_instance_uid: str = ""
