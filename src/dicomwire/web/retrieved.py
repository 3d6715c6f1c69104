"""Files of instances that a client has retrieved, in a folder (PS3.18 10.4).

A file has a name that hides it until it is whole; then it is named after the UIDs in it, never after what the
service says.
"""

from __future__ import annotations

import secrets
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final

from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.part10 import read_file_meta
from dicomwire.dicom.scan import scan
from dicomwire.errors import WebServiceError
from dicomwire.uids import is_valid_uid

_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def temporary(folder: Path) -> Path:
    """The name of a file that is not whole yet, in a folder that is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f".{secrets.token_hex(8)}.part"


def placed(part: Path, folder: Path) -> Path:
    """Give a whole file its name. Raises: WebServiceError, when its UIDs are none."""
    with part.open("rb") as file:
        if not part.stat().st_size:
            raise WebServiceError("a part of the answer is empty")
        with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            meta = read_file_meta(data, complete=True)
            assert meta is not None, "complete"
            with memoryview(data) as view, view[meta.length :] as data_set:
                found = scan(data_set, meta.transfer_syntax_uid)
            uids = [found.text(TAGS[keyword]) for keyword in _UIDS]
    if not all(map(is_valid_uid, uids)):
        raise WebServiceError("an instance without valid UIDs of study, series and instance")
    path = folder.joinpath(*uids[:2], f"{uids[2]}.dcm")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)
    return path
