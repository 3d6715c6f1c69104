"""Answers that are one data set: DICOM JSON, or XML by itself or in a part (PS3.18 8.7.3.2, 10.5.3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from dicomwire.dicom import xml_model
from dicomwire.web.media_types import (
    DICOM_JSON,
    DICOM_XML,
    JSON,
    MULTIPART_RELATED,
    Wanted,
    accept_of,
    not_acceptable,
)
from dicomwire.web.multipart import PartWriter

_OFFERED: Final = {DICOM_JSON: DICOM_JSON, JSON: DICOM_JSON, DICOM_XML: DICOM_XML}  # as asked for, as sent


@dataclass(frozen=True, slots=True)
class DataSetForm:
    """How a data set leaves."""

    media_type: str
    in_part: bool

    def encode(self, text: bytes) -> tuple[bytes, str]:
        """Body and Content-Type. text: the data set in DICOM JSON."""
        content = xml_model.encode(text) if self.media_type == DICOM_XML else text
        if not self.in_part:
            return content, self.media_type
        writer = PartWriter(self.media_type)
        return writer.part(self.media_type, content) + writer.tail, writer.content_type


def data_set_form(request: Request) -> DataSetForm:
    """The form that the client takes.

    Raises: Problem 406; asked before anything is done.
    """
    accept = accept_of(request)

    def offer(wanted: Wanted) -> DataSetForm | None:
        for essence, media_type in _OFFERED.items():
            if accept.allows(wanted, essence, multipart=False):
                return DataSetForm(media_type, in_part=False)
        in_part = accept.allows(wanted, DICOM_XML, multipart=True)
        return DataSetForm(DICOM_XML, in_part=True) if in_part else None

    form = accept.choose(offer)
    if form is None:
        raise not_acceptable(accept, [*_OFFERED, f'{MULTIPART_RELATED}; type="{DICOM_XML}"'])
    return form
