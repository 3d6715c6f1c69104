"""The HTTP door's options."""

from __future__ import annotations

from starlette.requests import Request

from dicomwire.node.settings import Settings
from dicomwire.node.web_door import DICOMWEB, web_options
from dicomwire.web.resources import base_url


def test_a_public_url_names_the_service_once() -> None:
    options = web_options(Settings.model_validate({"web": {"public_url": "https://pacs.example/x/"}}))
    request = Request({"type": "http", "scheme": "http", "root_path": DICOMWEB, "headers": []})
    assert base_url(request, options) == "https://pacs.example/x/dicom-web"
