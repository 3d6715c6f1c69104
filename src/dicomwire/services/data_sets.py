"""pydicom's data sets at the edge of the library: from bytes, to bytes, as keys (PS3.5 7, PS3.10 7)."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import IO, TypeAlias

import pydicom
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from dicomwire.dicom import data_set
from dicomwire.dicom.data_set import DataSet
from dicomwire.dicom.dictionary import vr_of
from dicomwire.dicom.encoding import encoding_of
from dicomwire.dicom.identifier import Key, values
from dicomwire.errors import DataSetError, LocalProtocolError
from dicomwire.services import instances
from dicomwire.services.instances import Instance, Skipped
from dicomwire.services.receiving import Received
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLEMENTATION_CLASS_UID, name_of

Storable: TypeAlias = Path | str | bytes | pydicom.Dataset | Instance
"""A file, or a folder with all that is in it; the bytes of a Part 10 file; a data set."""


class ReceivedInstance(Received):
    """An instance that has come, for whoever works with pydicom."""

    def dataset(self) -> pydicom.FileDataset:
        """The instance as pydicom reads it."""
        return read_file(self.open())


def read_file(file: IO[bytes]) -> pydicom.FileDataset:
    """A Part 10 file, whatever its writer did wrong that can be read all the same."""
    return pydicom.dcmread(file, force=True)


def decode(data: bytes, transfer_syntax_uid: str) -> pydicom.Dataset:
    """A data set that came as bytes.

    Raises: DataSetError, when pydicom cannot read it.
    """
    encoding = encoding_of(transfer_syntax_uid)
    try:
        return read_dataset(io.BytesIO(data), not encoding.explicit, encoding.little_endian)
    except (ValueError, EOFError, KeyError, NotImplementedError, OSError) as error:
        raise DataSetError(f"a data set that pydicom cannot read: {error}") from error


def encode(data: pydicom.Dataset, transfer_syntax_uid: str) -> bytes:
    """A data set in an uncompressed transfer syntax.

    Raises: LocalProtocolError, when pydicom cannot write it.
    """
    encoding = encoding_of(transfer_syntax_uid)
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = not encoding.explicit, encoding.little_endian
    try:
        write_dataset(buffer, data, data.get("SpecificCharacterSet", "ISO_IR 6"))
    except (ValueError, TypeError, AttributeError, NotImplementedError, OverflowError) as error:
        syntax = name_of(transfer_syntax_uid)
        raise LocalProtocolError(f"pydicom cannot write the data set in {syntax}: {error}") from error
    return buffer.getvalue()


def from_pydicom(data: pydicom.Dataset) -> DataSet:
    """A small data set as the DIMSE-N services take it.

    Raises: LocalProtocolError, when pydicom cannot write it.
    """
    return data_set.decode(encode(data, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)


def to_pydicom(data: DataSet) -> pydicom.Dataset:
    """The same back."""
    return decode(data_set.encode(data, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)


def to_file(data: pydicom.Dataset) -> bytes:
    """A data set as a Part 10 file in the transfer syntax it says, Explicit VR Little Endian without.

    Raises: LocalProtocolError, when pydicom cannot write it.
    """
    meta = pydicom.dataset.FileMetaDataset()
    known = getattr(data, "file_meta", None)
    syntax = (known and known.get("TransferSyntaxUID")) or EXPLICIT_VR_LITTLE_ENDIAN
    meta.MediaStorageSOPClassUID = UID(data.get("SOPClassUID", ""))
    meta.MediaStorageSOPInstanceUID = UID(data.get("SOPInstanceUID", ""))
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    copy = pydicom.Dataset(data)
    copy.file_meta = meta
    buffer = io.BytesIO()
    try:
        copy.save_as(buffer, enforce_file_format=True)
    except (ValueError, TypeError, AttributeError, NotImplementedError, OverflowError) as error:
        raise LocalProtocolError(f"pydicom cannot write the data set as a file: {error}") from error
    return buffer.getvalue()


def keys(data: pydicom.Dataset) -> list[Key]:
    """A data set as the keys of an identifier; elements without a value are asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wild cards and ranges are no values of their VR
        found = values(encode(data, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)
    return [
        Key(path, "\\".join(texts), given=bool(texts))
        for path, texts in found.items()
        if texts or vr_of(path[-1]) != "UN"
    ]


def instances_of(item: Storable) -> list[Instance]:
    """What there is to send of one thing.

    Raises: LocalProtocolError, when that is nothing.
    """
    if isinstance(item, Instance):
        return [item]
    if isinstance(item, pydicom.Dataset):
        name = f"data set {item.get('SOPInstanceUID', 'without SOP Instance UID')}"
        found = [instances.read_bytes(to_file(item), name)]
    elif isinstance(item, bytes):
        found = [instances.read_bytes(item, f"{len(item)} bytes")]
    else:
        found = [instances.read_file(path) for path in instances.walk([Path(item)])]
    folder = isinstance(item, Path | str) and Path(item).is_dir()
    skipped = [each for each in found if isinstance(each, Skipped)]
    if skipped and not folder:
        raise LocalProtocolError(f"{skipped[0].name} cannot be sent: {skipped[0].reason}")
    return [each for each in found if isinstance(each, Instance)]
