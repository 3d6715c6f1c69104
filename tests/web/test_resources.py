from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from dicomwire.web.options import WebOptions
from dicomwire.web.problems import Problem
from dicomwire.web.resources import base_url, decoded_path


def request(headers: dict[str, str], *, root: str = "", port: int = 8080, scheme: str = "http") -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": scheme,
            "server": ("127.0.0.1", port),
            "root_path": root,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )


@contextmanager
def refusal_with_400() -> Iterator[None]:
    """Lets a refusal pass, as long as it is a 400."""
    try:
        yield
    except Problem as problem:
        if problem.status != 400:
            raise


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/studies/1.2", "/studies/1.2"),
        (b"/studies/1%2E2/", "/studies/1.2"),
        (b"/studies/..%2F..%2fetc", "/studies/..%2F..%2Fetc"),
        (b"/", "/"),
        (b"/a%252Fb", "/a%2Fb"),
    ],
)
def test_escapes_are_resolved_but_a_slash_stays_in_its_segment(raw: bytes, path: str) -> None:
    assert decoded_path(raw) == path


@pytest.mark.parametrize(
    "raw",
    [
        b"/studies/%",
        b"/studies/%zz",
        b"/studies/%4",
        b"/%ff",
        b"/studies/..",
        b"/./studies",
        b"/studies/%2e%2e",
    ],
)
def test_bad_escapes_and_dot_segments_are_refused_with_400(raw: bytes) -> None:
    with pytest.raises(Problem) as caught:
        decoded_path(raw)
    assert caught.value.status == 400


@given(st.binary(max_size=40))
def test_any_path_is_decoded_or_refused(raw: bytes) -> None:
    path = ""
    with refusal_with_400():
        path = decoded_path(b"/" + raw)
    assert ".." not in path.split("/")


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("pacs:8080", 8080, "http://pacs:8080/dicom-web"),
        ("pacs", 80, "http://pacs/dicom-web"),
        ("127.0.0.1", 8080, "http://127.0.0.1:8080/dicom-web"),  # dicomweb-client leaves the port out
        ("[::1]:8080", 8080, "http://[::1]:8080/dicom-web"),
        ("[::1]", 8080, "http://[::1]:8080/dicom-web"),
    ],
)
def test_urls_follow_the_host_of_the_request(host: str, port: int, url: str) -> None:
    assert base_url(request({"Host": host}, root="/dicom-web", port=port), WebOptions()) == url


@pytest.mark.parametrize("host", ["a/b", "a b", 'a"b', "user@host", "a:99999999", "<x>"])
def test_a_host_that_cannot_be_part_of_a_url_is_refused_with_400(host: str) -> None:
    with pytest.raises(Problem) as caught:
        base_url(request({"Host": host}), WebOptions())
    assert caught.value.status == 400


def test_forwarded_headers_count_only_when_configured() -> None:
    headers = {
        "Host": "inner:8080",
        "X-Forwarded-Proto": "https, http",
        "X-Forwarded-Host": "pacs.example",
        "X-Forwarded-Prefix": "/node",
    }
    assert base_url(request(headers, root="/dicom-web"), WebOptions()) == "http://inner:8080/dicom-web"
    trusting = WebOptions(trust_forwarded=True)
    assert base_url(request(headers, root="/dicom-web"), trusting) == "https://pacs.example/node/dicom-web"
    with pytest.raises(Problem):
        base_url(request({"Host": "a", "X-Forwarded-Proto": "javascript"}), trusting)


def test_a_public_url_goes_before_everything() -> None:
    options = WebOptions(public_url="https://pacs.example/x/")
    assert (
        base_url(request({"Host": "a b"}, root="/dicom-web"), options) == "https://pacs.example/x/dicom-web"
    )
