"""The node's archive from the settings, and what it holds."""

from __future__ import annotations

from dataclasses import replace

from dicomwire.archive.archive import Archive, ArchiveOptions
from dicomwire.archive.transcoder import Transcoder, WorkerOptions
from dicomwire.errors import ArchiveError, ConfigurationError
from dicomwire.node.facts import ArchiveFacts
from dicomwire.node.settings import Settings


def open_archive(settings: Settings) -> Archive:
    """Open the data folder; made when missing.

    Raises: ConfigurationError, when it cannot be made or written, or is another node's at the moment.
    """
    data = settings.node.data
    try:
        data.mkdir(parents=True, exist_ok=True)
        return Archive.open(data, options_of(settings))
    except FileExistsError:
        raise ConfigurationError(f"node.data {data}: a file, not a folder") from None
    except (ArchiveError, OSError) as error:
        words = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigurationError(f"node.data {data}: {words}") from None


def open_cache(settings: Settings, name: str) -> Archive:
    """Open the archive that a gateway keeps what it has brought in; what comes again replaces what is there.

    Raises: ConfigurationError, when it cannot be made or written.
    """
    folder = settings.node.data / "gateways" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        options = replace(
            options_of(settings), duplicates="replace", remembers_removed=False, writer="thread"
        )
        return Archive.open(folder, options)
    except (ArchiveError, OSError) as error:
        words = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigurationError(f"cache of gateway {name!r}, {folder}: {words}") from None


def open_transcoder(settings: Settings, archive: Archive) -> Transcoder:
    """What transcodes and renders the archive's instances, as configured."""
    chosen = settings.pixels
    limits = WorkerOptions(
        memory=chosen.memory,
        together=chosen.together,
        processor_time=chosen.processor_time,
        timeout=chosen.timeout,
        waiting=chosen.waiting,
    )
    return Transcoder(archive, replace(limits, processes=chosen.workers) if chosen.workers else limits)


def held(archive: Archive) -> ArchiveFacts:
    """What is in it now."""
    stats = archive.stats()
    return ArchiveFacts(stats.studies, stats.series, stats.instances, stats.bytes_stored)


def options_of(settings: Settings) -> ArchiveOptions:
    """The archive's options, as configured."""
    chosen = settings.archive
    return ArchiveOptions(
        duplicates=chosen.duplicates,
        segment_size=chosen.segment_size,
        memory=chosen.memory,
        free_space=chosen.free_space,
        depth_limit=chosen.depth_limit,
        inflate_limit=chosen.inflate_limit,
        preamble=chosen.preamble,
        writer=chosen.writer,
    )
