"""The table of resources: templates, faults, mounts."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dicomwire.web.problems import Problem, answer_fault, answer_problem
from dicomwire.web.responses import Chunks, StreamedResponse
from dicomwire.web.routing import Front, Resource, Table, Tree


class Named:
    """Answers with its name and what the path said."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        words = [self.name, scope.get("root_path", ""), *scope.get("path_params", {}).values()]
        await PlainTextResponse(" ".join(words))(scope, receive, send)


TEMPLATES: Mapping[str, ASGIApp] = {
    path: Named(path)
    for path in (
        "/",
        "/studies",
        "/studies/{study}",
        "/studies/{study}/series",
        "/studies/{study}/series/{series}",
        "/studies/{study}/bulkdata/{path:path}",
    )
}


@pytest.mark.parametrize(
    ("path", "template", "parameters"),
    [
        ("/", "/", {}),
        ("/studies", "/studies", {}),
        ("/studies/1.2", "/studies/{study}", {"study": "1.2"}),
        ("/studies/series", "/studies/{study}", {"study": "series"}),
        ("/studies/1.2/series", "/studies/{study}/series", {"study": "1.2"}),
        ("/studies/1.2/series/3", "/studies/{study}/series/{series}", {"study": "1.2", "series": "3"}),
        ("/studies/1/bulkdata/a/b/", "/studies/{study}/bulkdata/{path:path}", {"study": "1", "path": "a/b/"}),
    ],
)
def test_a_path_finds_its_template(path: str, template: str, parameters: dict[str, str]) -> None:
    assert Tree(TEMPLATES).find(path) == (TEMPLATES[template], parameters)


@pytest.mark.parametrize(
    "path", ["", "/study", "/studies/", "/studies//series", "/studies/1/2", "/studies/1/bulkdata", "studies"]
)
def test_a_path_of_no_template_finds_nothing(path: str) -> None:
    assert Tree(TEMPLATES).find(path) is None


async def _asked(app: ASGIApp, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        return await client.get(path)


async def _refuses(request: Request) -> Response:
    raise Problem(409, "not now")


async def _fails(request: Request) -> Response:
    raise KeyError("ours")


async def _fails_late(request: Request) -> Response:
    def chunks() -> Chunks:
        yield bytes(1 << 20)
        raise Problem(404, "too late to say")

    return StreamedResponse(chunks(), content_type="text/plain")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/refuses", 409),
        ("/fails", 500),
        ("/nothing", 404),
        ("/refuses/%zz", 400),
        ("/refuses/", 409),
    ],
)
async def test_what_is_raised_is_answered_by_the_handler_of_its_type(path: str, status: int) -> None:
    resources = {"/refuses": Resource({"GET": _refuses}), "/fails": Resource({"GET": _fails})}
    table = Table(resources, {Problem: answer_problem, Exception: answer_fault})
    answer = await _asked(table, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


async def test_what_is_raised_within_an_answer_is_left_to_the_server() -> None:
    table = Table({"/late": Resource({"GET": _fails_late})}, {Problem: answer_problem})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(table), base_url="http://node") as client:
        with pytest.raises(Problem, match="too late"):
            await client.get("/late")


@pytest.mark.parametrize(
    ("path", "answered"),
    [
        ("/a/x", "a /a x"),
        ("/a/b/x", "b /a/b x"),
        ("/a/b", "b-root /a/b"),
        ("/ab/x", "others "),
        ("/", "others "),
    ],
)
async def test_the_longest_prefix_counts(path: str, answered: str) -> None:
    a = Table({"/{name}": Named("a")}, {})
    b = Table({"/{name}": Named("b"), "/": Named("b-root")}, {})
    assert (await _asked(Front({"/a": a, "/a/b": b}, Named("others")), path)).text == answered
