"""`dicomwire associations`: the last associations of a running node, explained; a bundle for support."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.data_folder import Config
from dicomwire.cli.explain import show_lines
from dicomwire.cli.output import Json, Stop, escaped, show_json, show_table

if TYPE_CHECKING:
    import httpx

app = typer.Typer(
    help="Look at the last associations of a running node: what was said, and why they ended so.",
    no_args_is_help=True,
)

SECONDS = 10.0  # for each step of a request
MOST_LOG = 1 << 20  # bytes of a log's end
PATH = "/api/associations"

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The node's web door; without it the configured one."),
]
User = Annotated[str | None, typer.Option(metavar="NAME", help="User name to log in with.")]
Password = Annotated[str | None, typer.Option(metavar="P", help="Password to log in with.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Of an association, as `list` shows it.")]


@dataclass(frozen=True, slots=True)
class Door:
    """The web door of a node."""

    url: str
    login: tuple[str, str] | None

    def get(self, path: str) -> httpx.Response:
        """One of its resources. Raises: Stop."""
        import httpx

        try:
            answer = httpx.get(self.url + path, auth=self.login, timeout=SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Stop(f"{self.url}: {error}", 1) from None
        if answer.status_code != 200:
            told = answer.text[:300] if answer.status_code == 404 else answer.reason_phrase
            raise Stop(f"{self.url}{path}: {answer.status_code} {told}", 1)
        return answer


@app.command("list")
def list_associations(
    *,
    url: Url = None,
    user: User = None,
    password: Password = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List the last associations, the latest first."""
    found = _door(url, user, password, config).get(PATH).json()["associations"]
    if as_json:
        show_json(found)
        return
    rows = [
        (
            str(one["id"]),
            str(one["state"]),
            str(one["began"])[:19],
            str(one["calling_ae_title"]),
            str(one["called_ae_title"]),
            str(one["peer"]),
            escaped(str(one["reason"])),
        )
        for one in found
    ]
    show_table(("id", "state", "began", "calling", "called", "peer", "reason"), rows)


@app.command()
def show(
    id: Id,
    *,
    url: Url = None,
    user: User = None,
    password: Password = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Explain one association: its story, and the true reason of its end."""
    door = _door(url, user, password, config)
    if as_json:
        show_json(door.get(f"{PATH}/{id}").json())
        return
    from dicomwire.diagnose.explain import explain
    from dicomwire.diagnose.text import explanation_lines

    facts = door.get(f"{PATH}/{id}").json()
    for name in ("state", "began", "seconds", "peer", "performed", "answer", "reason"):
        if facts[name]:
            print(f"{name:10} {escaped(str(facts[name]))}")
    if facts["story"] is None:
        return
    if facts["requests"]:
        head = ("request", "message", "milliseconds", "status")
        keys = ("request", "message_id", "milliseconds", "status")
        show_table(head, [[str(one[key]) for key in keys] for one in facts["requests"]])
    capture = door.get(f"{PATH}/{id}/pcap").content
    show_lines(explanation_lines(explain(id, [capture]), everything=True))


@app.command()
def export(
    id: Id,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it, as pcapng.")],
    *,
    url: Url = None,
    user: User = None,
    password: Password = None,
    config: Config = None,
) -> None:
    """Write what is kept of one association as a capture, which `explain` and Wireshark read."""
    _write(file, _door(url, user, password, config).get(f"{PATH}/{id}/pcap").content)


@app.command()
def bundle(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="Where to write it.")],
    *,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The node's log, of which the end is put in, masked.")
    ] = None,
    url: Url = None,
    user: User = None,
    password: Password = None,
    config: Config = None,
) -> None:
    """Put together what support needs: settings, versions, the end of the log, the last associations.

    There are no secrets in it, no credentials, and no values of data sets.
    """
    from dicomwire.cli.version import facts as versions
    from dicomwire.node import configuration
    from dicomwire.node import show as showing
    from dicomwire.node.masking import masked, masked_line

    door = _door(url, user, password, config)
    loaded = configuration.load(file=config)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as bundled:
        settings = showing.toml(configuration.plain(loaded.settings), loaded.origins)
        bundled.writestr("settings.toml", settings)
        bundled.writestr("versions.json", json.dumps(versions(), indent=2))
        node = masked(door.get("/api/node").json())
        bundled.writestr("node.json", json.dumps(node, indent=2))
        listed = door.get(PATH).json()["associations"]
        told = [{**one, "reason": masked_line(one["reason"])} for one in listed]
        bundled.writestr("associations.json", json.dumps(told, indent=2))
        for one in listed:
            try:
                capture = door.get(f"{PATH}/{one['id']}/pcap").content
            except Stop:
                continue  # it gave way to another one meanwhile
            bundled.writestr(f"associations/{one['id']}.pcapng", capture)
        if log is not None:
            bundled.writestr("log.txt", _log_end(log))
    _write(file, whole.getvalue())
    print(f"{file}: {len(whole.getvalue()):,} bytes")


def _door(url: str | None, user: str | None, password: str | None, config: Path | None) -> Door:
    if url is None:
        from dicomwire.node import configuration

        web = configuration.load(file=config).settings.web
        scheme = "https" if web.tls.enabled else "http"
        host = "127.0.0.1" if web.host in ("0.0.0.0", "::", "") else web.host
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{web.port}"
    if password is not None and user is None:
        raise Stop("--password needs --user", 2)
    return Door(url.rstrip("/"), (user, password or "") if user is not None else None)


def _log_end(log: Path) -> str:
    """The last lines of a log; values of what may be secret or a patient's are asterisks."""
    from dicomwire.node.masking import masked_line

    try:
        with log.open("rb") as stream:
            size = stream.seek(0, io.SEEK_END)
            stream.seek(max(0, size - MOST_LOG))
            text = stream.read().decode("utf-8", "replace")
    except OSError as error:
        raise Stop(f"{log}: {error.strerror}", 2) from None
    lines = text.splitlines()[1 if size > MOST_LOG else 0 :]
    return "".join(f"{masked_line(line)}\n" for line in lines)


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise Stop(f"{file}: {error.strerror}", 2) from None
