"""`dicomwire web`: a DICOMweb service from the command line (PS3.18 10)."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl

import typer

from dicomwire.cli import send
from dicomwire.cli.connection import Flags, accepted
from dicomwire.cli.output import Json, Stop, Verbose, escaped, log_to_stderr, say, show_json, show_table, size
from dicomwire.errors import DataSetError, InvalidAttribute, WebServiceError

if TYPE_CHECKING:
    from dicomwire.dicom.data_set import DataSet
    from dicomwire.web.client import JsonObject, WebClient

app = typer.Typer(no_args_is_help=True, help="Search, retrieve, store and render at a DICOMweb service.")

Service = Annotated[str, typer.Argument(metavar="URL", help="Base of the service, or a resource below it.")]
Keys = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="What to match; a keyword without = is shown too."),
]
Level = Annotated[
    str | None,
    typer.Option("--level", "-l", metavar="L", help="studies, series or instances; else what is below URL."),
]
Limit = Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="Most matches.")]
Fuzzy = Annotated[bool, typer.Option("--fuzzy", help="Match names by words and sounds, if it can.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for what comes.")]
File = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File for the picture.")]
TransferSyntax = Annotated[
    str, typer.Option(metavar="UID", help="Transfer syntax to ask for; * for as it is stored.")
]
MediaType = Annotated[str | None, typer.Option(metavar="T", help="Media type; else the file's name tells.")]
Viewport = Annotated[str | None, typer.Option(metavar="W,H[,X,Y,W,H]", help="Size, and part of the image.")]
Window = Annotated[str | None, typer.Option(metavar="C,W[,F]", help="Window centre, width and function.")]
Quality = Annotated[int | None, typer.Option(metavar="N", min=1, max=100, help="Quality of a JPEG.")]
Annotation = Annotated[
    str | None, typer.Option(metavar="A", help="patient, technique, or both with a comma.")
]
Profile = Annotated[
    str | None,
    typer.Option(metavar="P", help="Colours: yes for the image's own, srgb, adobergb, rommrgb, displayp3."),
]

_TAG = re.compile("[0-9A-Fa-f]{8}")
_RESOURCE = re.compile("(?P<base>[^/]+//[^/]+.*?)(?:/(?P<path>(?:studies|series|instances)(?:/.*)?))?")
_SHOWN = {
    "studies": "StudyInstanceUID PatientID PatientName StudyDate ModalitiesInStudy StudyDescription",
    "series": "SeriesInstanceUID Modality SeriesNumber SeriesDescription NumberOfSeriesRelatedInstances",
    "instances": "SOPInstanceUID SOPClassUID InstanceNumber NumberOfFrames",
}
_BELOW = {"": "studies", "studies": "series", "series": "instances"}
_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".jp2": "image/jp2",
    ".jxl": "image/jxl",
    ".jph": "image/jph",
    ".mp4": "video/mp4",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
}


@app.command()
@accepted
def search(
    url: Service,
    keys: Keys = None,
    *,
    level: Level = None,
    limit: Limit = None,
    fuzzy: Fuzzy = False,
    flags: Flags,
    as_csv: Csv = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Search a service: QIDO-RS. Exit status 0: it answered, if only that nothing matches; 1: it did not."""
    log_to_stderr(verbose=verbose)
    if as_csv and as_json:
        raise Stop("--csv and --json are two forms of output: give one", 2)
    address, _, query = url.partition("?")
    given = [key.partition("=") for key in keys or ()]
    matches = dict(parse_qsl(query, keep_blank_values=True))
    matches |= {name: value for name, equals, value in given if equals}
    fields = [name for name, equals, _ in given if not equals]
    base, path = _split(address)
    path = _searched(path, level)
    found = asyncio.run(_search(base, path, flags, matches, fields, limit, fuzzy=fuzzy))
    if as_json:
        show_json(found)
        return
    shown = [*_SHOWN[path.rpartition("/")[2]].split(), *fields]
    columns = list(dict.fromkeys(name for name in (*matches, *shown) if "." not in name))
    rows = [_texts(each, columns) for each in found]
    if as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([columns, *rows])
    elif rows:
        show_table(columns, [[escaped(text) for text in row] for row in rows])
    if sys.stderr.isatty() or not rows:
        say(f"{len(rows) or 'no'} match{'es' if len(rows) != 1 else ''}")


@app.command()
@accepted
def retrieve(
    url: Service,
    *,
    output: Output,
    transfer_syntax: TransferSyntax = "*",
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Retrieve a study, series or instance: WADO-RS. URL is its resource, as .../studies/1.2.3."""
    log_to_stderr(verbose=verbose)
    base, path = _split(url)
    if not path:
        raise Stop(f"{url} names no study: .../studies/UID wanted", 2)
    files, failure = asyncio.run(_retrieve(base, path, flags, output, transfer_syntax))
    length = sum(each.stat().st_size for each in files)
    if as_json:
        show_json({"files": [str(each) for each in files], "bytes": length, "error": failure})
    else:
        say(f"{len(files)} instance{'s' if len(files) != 1 else ''}, {size(length)}, in {output}")
    if failure is not None:
        raise Stop(failure, 1)


@app.command()
@accepted
def store(
    url: Service,
    paths: send.Paths,
    *,
    connections: send.Associations = 1,
    flags: Flags,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Store files and folders: STOW-RS. The same as `dicomwire send URL PATH...`."""
    log_to_stderr(verbose=verbose)
    _split(url)
    result = send.delivered(url, url, paths, connections, flags, quiet=as_json)
    if as_json:
        result.show_json({})
    else:
        result.show(verbose=verbose)
    if not result.complete:
        raise typer.Exit(1)


@app.command()
@accepted
def rendered(
    url: Service,
    *,
    output: File,
    media_type: MediaType = None,
    viewport: Viewport = None,
    window: Window = None,
    quality: Quality = None,
    annotation: Annotation = None,
    icc_profile: Profile = None,
    flags: Flags,
    verbose: Verbose = False,
) -> None:
    """Retrieve a picture: WADO-RS. URL is a study, series or instance, or .../frames/1 of one."""
    log_to_stderr(verbose=verbose)
    base, path = _split(url.rstrip("/").removesuffix("/rendered"))
    if not path:
        raise Stop(f"{url} names no study: .../studies/UID wanted", 2)
    wanted = media_type or _TYPES.get(output.suffix.lower())
    if wanted is None:
        raise Stop(f"{output}: {', '.join(_TYPES)}, or --media-type, wanted", 2)
    if window is not None and window.count(",") == 1:
        window += ",linear"
    asked = {"viewport": viewport, "window": window, "annotation": annotation, "iccprofile": icc_profile}
    asked["quality"] = None if quality is None else str(quality)
    parameters = {name: value for name, value in asked.items() if value is not None}
    try:
        count = asyncio.run(_rendered(base, path, flags, wanted, parameters, output))
    except OSError as error:
        raise Stop(f"{output}: {error.strerror}", 1) from None
    if count > 1:
        say(f"{count} pictures: {output} to {_numbered(output, count)}")


def _split(url: str) -> tuple[str, str]:
    """Base of the service and path of the resource below it, "" where the URL is the base."""
    if not url.startswith(("http://", "https://")):
        raise Stop(f"{url} is no URL: http://... or https://... wanted", 2)
    found = _RESOURCE.fullmatch(url.rstrip("/"))
    if found is None or "?" in url:
        raise Stop(f"{url}: http://HOST... without a query wanted", 2)
    return found["base"], found["path"] or ""


def _searched(path: str, level: str | None) -> str:
    """The resource to search: that one, or what lies below it. Raises: Stop."""
    if level is not None and level not in _SHOWN:
        raise Stop(f"--level {level}: studies, series or instances are levels", 2)
    *above, last = path.split("/")
    if last in _SHOWN:
        if level not in (None, last):
            raise Stop(f"--level {level}: the URL names {last}", 2)
        return path
    below = _BELOW.get(above[-1] if above else "")
    if below is None:
        raise Stop(f"there is nothing to search below .../{path}", 2)
    return f"{path}/{level or below}".lstrip("/")


def _service(base: str, flags: Flags) -> WebClient:
    from dicomwire.cli import stow

    flags.access.check_for_url()
    return stow.service(base, flags.access, flags.timeout)


async def _search(
    base: str,
    path: str,
    flags: Flags,
    matches: Mapping[str, str],
    fields: Sequence[str],
    limit: int | None,
    *,
    fuzzy: bool,
) -> list[JsonObject]:
    async with _service(base, flags) as client:
        found = client.search(path, matches, fields=fields, limit=limit, fuzzy=fuzzy)
        async with aclosing(found):
            rows = [each async for each in found]
        for text in client.warnings:
            say(f"dicomwire: {base}: {escaped(text)}")
        return rows


async def _retrieve(
    base: str, path: str, flags: Flags, folder: Path, transfer_syntax: str
) -> tuple[list[Path], str | None]:
    """The files that came, and why it was not all of them."""
    files: list[Path] = []
    async with _service(base, flags) as client:
        coming = client.retrieve(path, folder, transfer_syntax=transfer_syntax)
        try:
            async with aclosing(coming):
                async for file in coming:
                    files.append(file)
        except (WebServiceError, DataSetError, OSError) as error:
            return files, str(error)
    return files, None


async def _rendered(
    base: str, path: str, flags: Flags, media_type: str, parameters: Mapping[str, str], output: Path
) -> int:
    """How many pictures were written."""
    count = 0
    async with (
        _service(base, flags) as client,
        aclosing(client.pictures(path, media_type, parameters)) as coming,
    ):
        async for picture in coming:
            count += 1
            _numbered(output, count).write_bytes(picture)
    return count


def _numbered(output: Path, number: int) -> Path:
    """The file of one of several pictures: the first has the name that was given."""
    return output if number == 1 else output.with_stem(f"{output.stem}-{number}")


def _texts(found: JsonObject, columns: Sequence[str]) -> list[str]:
    """Values of a match; of what cannot be read or is no attribute, nothing."""
    from dicomwire.dicom.data_set import from_object
    from dicomwire.dicom.dictionary import TAGS

    try:
        data_set: DataSet = from_object(json.loads(json.dumps(found), parse_float=str, parse_int=str))
    except InvalidAttribute as error:
        say(f"dicomwire: a match cannot be read: {error}")
        return ["" for _ in columns]
    tags = [int(name, 16) if _TAG.fullmatch(name) else TAGS.get(name, 0) for name in columns]
    return ["\\".join(data_set.texts(tag)) for tag in tags]
