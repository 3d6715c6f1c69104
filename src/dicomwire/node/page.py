"""The page at `/`: what the node is, where it listens, what it holds, what to try next, who called last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import islice, zip_longest
from typing import Final

from dicomwire.association.flight import Recording
from dicomwire.diagnose.finding import escaped
from dicomwire.node.facts import Facts, hints, location

# A page loads nothing and runs nothing; what a peer sent could do no harm even if it were not escaped.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
STORIES: Final = "associations"  # path of a page for each association
LAST: Final = 10  # associations that are shown

_STYLE = """
:root { color-scheme: light dark; --ink: #17212b; --soft: #5b6b7a; --line: #dce3e9; --paper: #f5f7f9;
  --card: #fff; --accent: #0b6e75; --good: #1b7f4b; --bad: #a8440e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4ebf1; --soft: #93a4b4; --line: #2a3642;
  --paper: #10161c; --card: #18212a; --accent: #4cc0c8; --good: #55c48a; --bad: #f0965e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 3rem; }
header { display: flex; align-items: baseline; gap: .9rem; flex-wrap: wrap; margin-bottom: 1.6rem; }
h1 { font-size: 1.7rem; letter-spacing: -.02em; margin: 0; }
h2 { font-size: .78rem; letter-spacing: .08em; text-transform: uppercase; color: var(--soft);
  margin: 0 0 .7rem; font-weight: 600; }
.state { border: 1px solid currentColor; border-radius: 2rem; padding: 0 .65rem; font-size: .82rem;
  color: var(--good); }
.state.not { color: var(--bad); }
.quiet { color: var(--soft); }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1.1rem 1.2rem; min-width: 0; margin-bottom: 1rem; }
.grid section { margin: 0; }
.grid + section { margin-top: 1rem; }
.big { font: 600 1rem/1.7 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.counts { display: grid; grid-template-columns: 1fr 1fr; gap: .3rem 1rem; line-height: 1.4; }
.counts span { color: var(--soft); font-size: .92rem; }
.counts b { color: var(--ink); display: block; font-size: 1.2rem; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .45rem 1.2rem; margin: 0;
  align-items: baseline; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
code { font: .86rem/1.6 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
dd code { background: var(--paper); border: 1px solid var(--line); border-radius: .35rem;
  padding: .12rem .5rem; display: inline-block; user-select: all; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td { white-space: nowrap; }
td:last-child { white-space: normal; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
a { color: var(--accent); }
footer { margin-top: 1.6rem; color: var(--soft); font-size: .88rem; }
"""


def render(facts: Facts, recordings: Iterable[Recording] = ()) -> str:
    """The page as HTML, complete in itself: no script, nothing fetched from elsewhere.

    recordings: the last associations, the latest first; only those that are over are shown.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="15">
<title>{escape(facts.ae_title)}: dicomwire</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<main>
<header>
<h1>{escape(facts.ae_title)}</h1>
<span class="state{"" if facts.state == "ready" else " not"}">{facts.state}</span>
<span class="quiet">dicomwire {escape(facts.version)}, up {_duration(facts.uptime_seconds)}</span>
</header>
<div class="grid">
{_doors(facts)}
{_archive(facts)}
</div>
<section><h2>What to try next</h2>
<dl>{_hints(facts)}</dl>
</section>
{_associations(facts)}
{_last(recordings)}
{_peers(facts)}
<footer>
<a href="api/node">api/node</a> these facts as JSON,
<a href="api/associations">api/associations</a> what was said,
<a href="metrics">metrics</a> for Prometheus,
<a href="readyz">readyz</a> and <a href="healthz">healthz</a> for supervisors
</footer>
</main>
</body>
</html>
"""


def _doors(facts: Facts) -> str:
    dimse, web = facts.dimse, facts.web
    others = ", ".join(facts.ae_titles[1:])
    return f"""<section><h2>DIMSE</h2>
<div class="big">{escape(facts.ae_title)}<wbr>@{escape(location(dimse.host, dimse.port))}</div>
<div class="quiet">{"TLS, " if dimse.tls else ""}{_plural(len(facts.associations), "open association")}
{f"<br>also called {escape(others)}" if others else ""}</div>
</section>
<section><h2>DICOMweb</h2>
<div class="big">{escape(facts.public_url)}<wbr>{escape(facts.dicomweb.removeprefix(facts.public_url))}</div>
<div class="quiet">{"TLS, " if web.tls else ""}{"login required" if facts.login_required else "no login"},
{_plural(sum(facts.web_requests.values()), "request")} answered</div>
</section>"""


def _archive(facts: Facts) -> str:
    held = facts.archive
    counts = (("studies", held.studies), ("series", held.series), ("instances", held.instances))
    cells = "".join(f"<span><b>{count:,}</b> {name}</span>" for name, count in counts)
    return f"""<section><h2>Archive</h2>
<div class="counts">{cells}<span><b>{size(held.bytes)}</b> stored</span></div>
</section>{_jobs(facts)}"""


def _jobs(facts: Facts) -> str:
    """What is still to be sent, reported or forwarded; nothing where there is none."""
    left = {state: facts.jobs.get(state, 0) for state in ("waiting", "running", "paused", "failed")}
    if not any(left.values()):
        return ""
    cells = "".join(f"<span><b>{count:,}</b> {state}</span>" for state, count in left.items() if count)
    return f"""
<section><h2><a href="api/jobs">Jobs</a></h2>
<div class="counts">{cells}</div>
</section>"""


def _hints(facts: Facts) -> str:
    return "".join(
        f"<dt>{escape(what)}</dt><dd><code>{escape(how)}</code></dd>" for what, how in hints(facts)
    )


def _associations(facts: Facts) -> str:
    rows = [
        (
            each.calling_ae_title,
            each.peer,
            each.implementation_version_name,
            ", ".join(f"{count} {name}" for name, count in each.performed.items()),
            size(each.bytes_received),
            _duration(each.seconds),
        )
        for each in facts.associations
    ]
    head = ("Calling AE", "Address", "Implementation", "Performed", "Received", "Open for")
    return _table("Open associations", head, rows)


def _last(recordings: Iterable[Recording]) -> str:
    """What became of the last associations; each begins with a link to its story."""
    over = list(islice((each for each in recordings if each.ended is not None), LAST))
    rows = [
        (
            f"{datetime.fromtimestamp(each.began, UTC):%Y-%m-%d %H:%M:%S}",
            " → ".join(filter(None, (escaped(each.calling_ae_title), escaped(each.called_ae_title)))),
            location(*(each.server if each.requestor else each.client)),
            ", ".join(f"{count} {name}" for name, count in each.performed.items()),
            f"{each.state}: {escaped(each.reason)}" if each.reason else each.state,
        )
        for each in over
    ]
    head = ("Began (UTC)", "From and to", "Address", "Performed", "What became of it")
    return _table("Last associations", head, rows, [f"{STORIES}/{each.id}" for each in over])


def _peers(facts: Facts) -> str:
    rows = [(peer.ae_title, peer.address, ", ".join(peer.allow)) for peer in facts.peers]
    return _table("Peers", ("AE title", "Address", "May"), rows)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], links: Sequence[str] = ()) -> str:
    """A section of rows; "" without any. links: where the first cell of each row leads, if anywhere."""
    if not rows:
        return ""
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{_cells(row, link)}</tr>" for row, link in zip_longest(rows, links, fillvalue=""))
    return f'<section><h2>{title}</h2><div class="wide"><table><tr>{heads}</tr>{body}</table></div></section>'


def _cells(row: Sequence[str], link: str) -> str:
    first, *others = map(escape, row)
    if link:
        first = f'<a href="{escape(link)}">{first}</a>'
    return "".join(f"<td>{cell}</td>" for cell in (first, *others))


def size(count: int) -> str:
    """Bytes for people: `525.3 KB`."""
    amount = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{whole} s"


def _plural(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
