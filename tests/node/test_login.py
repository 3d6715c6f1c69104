"""Logins at the HTTP door."""

from __future__ import annotations

import base64

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from dicomwire.access.identity import IdentityPolicy, User, Verifier, hash_password
from dicomwire.access.permission import Permission
from dicomwire.node.login import Login, credentials, operation
from dicomwire.web.options import WebOptions

HASH = hash_password("open sesame")


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def client(*, required: bool = True) -> httpx.AsyncClient:
    users = {"ann": User(HASH), "scanner": User(HASH, Permission.STORE)}
    verifier = Verifier(IdentityPolicy(required=required, users=users))
    options = WebOptions(cors_origins=("https://viewer.example",))
    transport = httpx.ASGITransport(app=Login(application, verifier, "/dicom-web", options))
    return httpx.AsyncClient(transport=transport, base_url="http://node")


async def test_without_a_login_only_health_is_told() -> None:
    async with client() as web:
        assert (await web.get("/healthz")).status_code == 200
        assert (await web.get("/readyz")).status_code == 200
        for path in ("/", "/api/node", "/metrics", "/dicom-web/studies"):
            answer = await web.get(path)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")


async def test_pages_of_named_origins_can_read_that_a_login_is_needed() -> None:
    async with client() as web:
        for origin, readable in (("https://viewer.example", "https://viewer.example"), ("https://x", None)):
            answer = await web.get("/dicom-web/studies", headers={"Origin": origin})
            assert answer.status_code == 401
            assert answer.headers.get("Access-Control-Allow-Origin") == readable
        scanner = httpx.BasicAuth("scanner", "open sesame")
        page = {"Origin": "https://viewer.example"}
        refused = await web.get("/dicom-web/studies", auth=scanner, headers=page)
        assert refused.status_code == 403
        assert refused.headers["Access-Control-Allow-Origin"] == "https://viewer.example"


async def test_a_right_password_lets_in_and_a_wrong_one_does_not() -> None:
    async with client() as web:
        assert (await web.get("/", auth=("ann", "open sesame"))).status_code == 200
        assert (await web.get("/", auth=("ann", "open barley"))).status_code == 401
        assert (await web.get("/", auth=("bob", "open sesame"))).status_code == 401


async def test_a_wrong_password_is_refused_even_where_no_login_is_required() -> None:
    async with client(required=False) as web:
        assert (await web.get("/")).status_code == 200
        assert (await web.get("/", auth=("ann", "open barley"))).status_code == 401


async def test_a_user_may_only_what_is_allowed() -> None:
    async with client() as web:
        scanner = httpx.BasicAuth("scanner", "open sesame")
        assert (await web.post("/dicom-web/studies", auth=scanner)).status_code == 200
        assert (await web.get("/dicom-web/studies", auth=scanner)).status_code == 403
        assert (await web.get("/dicom-web/studies/1.2", auth=scanner)).status_code == 403
        assert (await web.get("/", auth=scanner)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [b"", b"Basic", b"Basic !!!", b"Basic " + base64.b64encode(b"no-colon"), b"Basic //79", b"Digest x"],
)
def test_a_header_that_is_no_login_is_none(header: bytes) -> None:
    assert credentials(header) is None


def test_a_password_may_hold_colons() -> None:
    found = credentials(b"basic " + base64.b64encode(b"ann:a:b"))
    assert found is not None
    assert (found.primary, found.secondary) == (b"ann", b"a:b")


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/", Permission.NONE),
        ("GET", "/metrics", Permission.NONE),
        ("POST", "/dicom-web/studies", Permission.STORE),
        ("POST", "/dicom-web/studies/1.2", Permission.STORE),
        ("GET", "/dicom-web/studies", Permission.FIND),
        ("GET", "/dicom-web/studies/1.2/series/", Permission.FIND),
        ("GET", "/dicom-web/studies/1.2", Permission.GET),
        ("HEAD", "/dicom-web/studies/1.2/metadata", Permission.GET),
        ("DELETE", "/dicom-web/studies/1.2", Permission.DELETE),
        ("GET", "/dicom-web", Permission.GET),
        ("GET", "/dicom-web/", Permission.GET),
        ("GET", "/dicom-webs", Permission.NONE),
        ("GET", "/wado", Permission.GET),
        ("GET", "/fhir/ImagingStudy", Permission.FIND),
        ("POST", "/dicom-web/commitment-requests/1.2", Permission.COMMIT),
        ("GET", "/dicom-web/commitment-requests/1.2", Permission.COMMIT),
    ],
)
def test_what_a_request_needs(method: str, path: str, needed: Permission) -> None:
    assert operation(method, path, "/dicom-web/") is needed


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/dicom-web/workitems", Permission.UPS),
        ("POST", "/dicom-web/workitems/1.2/subscribers/AE1", Permission.UPS),
        ("GET", "/api/worklist", Permission.FIND),
        ("POST", "/api/worklist", Permission.STORE),
        ("DELETE", "/dicom-web/modality-scheduled-procedure-steps/1", Permission.STORE),
    ],
)
def test_work_has_its_permissions(method: str, path: str, wanted: Permission) -> None:
    assert operation(method, path, "/dicom-web/") is wanted


@pytest.mark.parametrize(
    ("user", "inside"), [("", False), ("scanner:open sesame", False), ("ann:open sesame", True)]
)
async def test_event_channels_need_a_login_too(user: str, inside: bool) -> None:
    reached: list[str] = []
    sent: list[str] = []

    async def channel(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["path"])

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message) -> None:
        sent.append(message["type"])

    users = {"ann": User(HASH), "scanner": User(HASH, Permission.STORE)}
    verifier = Verifier(IdentityPolicy(required=True, users=users))
    login = Login(channel, verifier, "/dicom-web", WebOptions())
    header = b"Basic " + base64.b64encode(user.encode())
    headers = [(b"authorization", header)] if user else []
    scope = {"type": "websocket", "path": "/dicom-web/subscribers/AE1", "headers": headers}
    await login(scope, receive, send)
    assert bool(reached) is inside
    assert sent == ([] if inside else ["websocket.close"])
