"""WADO-URI: files without what identifies a person (PS3.18 9.4.1.2.1, 9.4.2.3; PS3.15 E).

The instance is put into its transfer syntax first, in a file without a name, and cleaned on its way out. New
UIDs hang on a secret of the archive's folder: the same instance has the same new UID each time.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterable
from mmap import ACCESS_READ, mmap
from tempfile import TemporaryFile
from typing import IO, Final

from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.archive.transcoder import Transcoder
from dicomwire.dicom.convert import to_transfer_syntax
from dicomwire.dicom.deidentify import NotDeidentified, deidentified
from dicomwire.dicom.ebb import ebbing
from dicomwire.errors import DataSetError, TranscodingError, WorkersBusy
from dicomwire.web.conditional import entity_tag, not_modified
from dicomwire.web.media_types import DICOM
from dicomwire.web.problems import Problem
from dicomwire.web.responses import Buffer, StreamedResponse
from dicomwire.web.retrieve import needs_codec, transfer_syntax_to_send

_SECRET: Final = "deidentify.key"
_SECRET_LENGTH: Final = 32  # bytes


class Anonymous:
    """Files of an archive's instances without identity."""

    def __init__(self, archive: Archive, transcoder: Transcoder) -> None:
        self._archive = archive
        self._transcoder = transcoder

    async def answer(self, request: Request, stored: Stored, wanted: str | None) -> Response:
        """One instance.

        wanted: its transfer syntax, None for the default.
        Raises: Problem 403, when it cannot be rid of its identity; 406, when it cannot be in that syntax.
        """
        syntax = transfer_syntax_to_send(stored, wanted, self._transcoder)
        if syntax is None:
            raise Problem(406, f"the instance cannot be in transfer syntax {wanted}")
        tag = entity_tag([stored], "anonymous", syntax)
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        folder = self._archive.data / "spool"
        folder.mkdir(exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            await self._write(stored, syntax, file)
            try:
                mapped = mmap(file.fileno(), 0, access=ACCESS_READ)
                clean = await asyncio.to_thread(deidentified, memoryview(mapped), syntax, self._secret())
            except (NotDeidentified, DataSetError) as error:
                raise Problem(403, f"the instance is not given away without identity: {error}") from None
        return StreamedResponse(
            ebbing(mapped, clean.pieces()),
            content_type=f"{DICOM}; transfer-syntax={syntax}",
            length=len(clean),
            headers={"ETag": tag},
        )

    async def _write(self, stored: Stored, syntax: str, file: IO[bytes]) -> None:
        """The data set in a transfer syntax. Raises: Problem 406, 503."""
        if not needs_codec(stored, syntax):
            with self._archive.open_stored(stored) as opened:
                data = opened.view[stored.data_set_offset :]
                pieces = to_transfer_syntax(data, stored.transfer_syntax_uid, syntax)
                await asyncio.to_thread(_written, file, pieces)
            return
        try:
            async with self._transcoder.transcode(stored, syntax) as transcoded:
                await asyncio.to_thread(_written, file, transcoded.slices())
        except TranscodingError as error:
            own = stored.transfer_syntax_uid
            raise Problem(406, f"{error}; transferSyntax={own} is what is stored") from None
        except WorkersBusy as error:
            raise Problem(503, str(error), {"Retry-After": "5"}) from None

    def _secret(self) -> bytes:
        """The secret of this archive, made when it is wanted first."""
        path = self._archive.data / _SECRET
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_SECRET_LENGTH))
        except FileExistsError:
            pass
        return path.read_bytes()


def _written(file: IO[bytes], pieces: Iterable[Buffer]) -> None:
    for piece in pieces:
        file.write(piece)
    file.flush()
