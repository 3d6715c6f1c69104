"""Stories as one self-contained HTML page for a ticket: no script, no font, nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from dicomwire.diagnose.diagram import sequence_diagram
from dicomwire.diagnose.explain import Explanation
from dicomwire.diagnose.finding import ContextLine, Evidence, Finding, Outcome, Side, Story, timestamp
from dicomwire.diagnose.overview import Group, overview, told_before
from dicomwire.uids import name_of

EVIDENCE_SHOWN: Final = 8

_WORDS: Final = {Outcome.OK: "ok", Outcome.FAILED: "failed", Outcome.UNKNOWN: "unknown"}
_SIDES: Final = {
    Side.REQUESTOR: "the requestor, who opened the connection",
    Side.ACCEPTOR: "the acceptor, who was called",
    Side.NETWORK: "the network between them",
    Side.EITHER: "either side",
}
_STYLE: Final = """
:root{--ink:#1c2430;--soft:#5c6775;--line:#d7dde5;--paper:#fff;--back:#f3f5f8;--red:#b3261e;--redback:#fdecea;
--green:#1e7a3c;--greenback:#e7f5ec;--amber:#8a5a00;--amberback:#fff4de;--blue:#1f5fa8}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b5;--line:#394352;--paper:#1a212b;--back:#11161d;
--red:#ff8a80;--redback:#3a1c1b;--green:#7ddb9b;--greenback:#15301f;--amber:#ffce73;--amberback:#3a2d12;--blue:#8ab8f0}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:22px;margin:0 0 4px}h2{font-size:17px;margin:0;font-weight:600;overflow-wrap:anywhere}
h3{font-size:13px;margin:20px 0 6px;color:var(--soft);font-weight:600}
.file{color:var(--soft);margin:0 0 20px;overflow-wrap:anywhere}
article{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:20px 22px;
margin:0 0 18px}
article.failed{border-left:5px solid var(--red)}article.ok{border-left:5px solid var(--green)}
article.unknown{border-left:5px solid var(--amber)}
.head{display:flex;gap:12px;align-items:baseline;flex-wrap:wrap}.when{color:var(--soft);font-size:13px}
.badge{font-size:12px;font-weight:700;padding:2px 9px;border-radius:99px}
.failed .badge{color:var(--red);background:var(--redback)}
.ok .badge{color:var(--green);background:var(--greenback)}
.unknown .badge{color:var(--amber);background:var(--amberback)}
.verdict{font-size:19px;line-height:1.4;font-weight:600;margin:12px 0 6px;overflow-wrap:anywhere}
.fixes{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:10px;margin-top:6px}
.fix{border:1px solid var(--line);border-radius:8px;padding:10px 12px}
.fix.act{border-color:var(--blue);box-shadow:inset 3px 0 0 var(--blue)}
.fix b{display:block;font-size:13px;color:var(--soft)}
.meta{color:var(--soft);font-size:13px;margin-top:12px}code{font:13px ui-monospace,Menlo,Consolas,monospace}
ul{margin:4px 0;padding-left:20px}li{margin:3px 0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:13px}.scroll{overflow-x:auto}
th,td{text-align:left;vertical-align:top;padding:6px 8px;border-top:1px solid var(--line)}
th{color:var(--soft)}
td.no{color:var(--red)}td.yes{color:var(--green)}summary{cursor:pointer;color:var(--blue);margin-top:14px}
svg{display:block;width:100%;min-width:640px;height:auto;font:13px system-ui,sans-serif}
svg text{fill:var(--ink)}svg .soft{fill:var(--soft);font-size:11px}svg .bad{fill:var(--red)}
svg .lane{stroke:var(--line);stroke-width:2}svg .box{fill:var(--back);stroke:var(--line)}
svg .arrow{stroke:var(--blue);stroke-width:1.5}svg .arrow.bad{stroke:var(--red);stroke-width:2}
svg .tip{fill:var(--blue)}svg .tip.bad{fill:var(--red)}
@media print{body{background:#fff}article{break-inside:avoid}}
"""


def page(explanations: Sequence[Explanation]) -> str:
    """The whole page."""
    return document("DICOM diagnosis", "".join(_file(one) for one in explanations))


def document(title: str, body: str, style: str = "") -> str:
    """A page of our look; `style` is added to it."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _file(explanation: Explanation) -> str:
    count = len(explanation.stories)
    failed = sum(story.outcome is Outcome.FAILED for story in explanation.stories)
    told = f"{count} {'story' if count == 1 else 'stories'}, {failed} failed, {explanation.frames:,} frames"
    fault = f"<p class=verdict>{escape(str(explanation.error))}</p>" if explanation.error else ""
    groups = overview(explanation.stories)
    before = told_before(groups)
    stories = "".join(
        _again(story, place, before[place]) if place in before else article(story, place, explanation.stories)
        for place, story in enumerate(explanation.stories)
    )
    table = _overview(groups) if count > 1 else ""
    return f"<h1>{escape(explanation.file)}</h1><p class=file>{told}</p>{fault}{table}{stories}"


def _overview(groups: Sequence[Group]) -> str:
    """A row for each group of stories, with a link to its first."""
    rows = []
    for group in groups:
        words = group.verdict.summary if group.verdict else "nothing to complain of"
        code = f"<code>{group.verdict.code}</code>" if group.verdict else ""
        rows.append(
            f"<tr class={_WORDS[group.outcome]}><td>{len(group.places)}</td>"
            f"<td><span class=badge>{_WORDS[group.outcome]}</span></td><td>{escape(words)} {code}</td>"
            f'<td><a href="#s{group.places[0] + 1}">{group.where}</a></td></tr>'
        )
    head = "<tr><th>Stories</th><th></th><th>Verdict</th><th>Which</th></tr>"
    return f"<article><div class=scroll><table>{head}{''.join(rows)}</table></div></article>"


def _again(story: Story, place: int, first: int) -> str:
    """A story whose verdict an earlier one has, too."""
    words = escape(story.verdict.summary) if story.verdict else ""
    link = f'<a href="#s{first + 1}">{first + 1}</a>'
    return f"{_head(story, place)}<p class=meta>As in {link}: {words}</p></article>"


def article(story: Story, place: int, stories: Sequence[Story]) -> str:
    """One story of a page."""
    parts = [_head(story, place)]
    if story.verdict is not None:
        parts.append(advice(story.verdict))
    others = [finding for finding in story.findings if finding is not story.verdict]
    if others:
        parts.append(f"<h3>Also</h3><ul>{''.join(map(_other, others))}</ul>")
    parts.append(_parties(story))
    if story.related:
        links = ", ".join(f'<a href="#s{one + 1}">{one + 1}</a>' for one in story.related)
        parts.append(f"<p class=meta>Belongs together with story {links}.</p>")
    if story.negotiation:
        parts.append(_contexts(story.negotiation, opened=story.outcome is not Outcome.OK))
    if story.events:
        group = [story, *(stories[one] for one in story.related if one < len(stories))]
        opened = " open" if story.outcome is not Outcome.OK else ""
        diagram = sequence_diagram(group)
        parts.append(
            f"<details{opened}><summary>Sequence</summary><div class=scroll>{diagram}</div></details>"
        )
    return "".join(parts) + "</article>"


def _head(story: Story, place: int) -> str:
    state = _WORDS[story.outcome]
    title = "The capture" if story.kind == "capture" else f"{story.requestor} → {story.acceptor}"
    return (
        f'<article class={state} id="s{place + 1}"><div class=head><span class=badge>{state}</span>'
        f"<h2>{place + 1}. {escape(title)}</h2><span class=when>{timestamp(story.started) or ''}</span></div>"
    )


def advice(finding: Finding) -> str:
    """Cause, side, reason, changes, evidence."""
    fixes = "".join(
        f"<div class='fix{' act' if finding.side == side else ''}'><b>Change, {side}</b>{escape(words)}</div>"
        for side, words in finding.fix.as_json().items()
    )
    check = f"<h3>Check next</h3>{escape(finding.check)}" if finding.check else ""
    return (
        f"<p class=verdict>{escape(finding.summary)}</p>"
        f"<div>On the side of {_SIDES[finding.side]}.</div>"
        f"<h3>Why</h3>{escape(finding.why)}<h3>What to change</h3><div class=fixes>{fixes}</div>{check}"
        f"{_evidence(finding.evidence)}"
        f"<p class=meta><code>{finding.code}</code> · {finding.layer} · {finding.confidence} · "
        f"{escape(finding.reference)}</p>"
    )


def _evidence(evidence: Iterable[Evidence]) -> str:
    rows = []
    for one in list(evidence)[:EVIDENCE_SHOWN]:
        frame = f"frame {one.frame}: " if one.frame else ""
        span = f" (bytes {one.byte_range[0]} to {one.byte_range[1] - 1})" if one.byte_range else ""
        rows.append(f"<li>{frame}{escape(one.what)}{span}</li>")
    return f"<h3>Evidence</h3><ul>{''.join(rows)}</ul>" if rows else ""


def _other(finding: Finding) -> str:
    return (
        f"<li><code>{finding.code}</code> ({finding.severity}, {finding.confidence}): "
        f"{escape(finding.summary)}</li>"
    )


def _parties(story: Story) -> str:
    words = []
    for side, party in (("Requestor", story.requestor), ("Acceptor", story.acceptor)):
        if party.implementation_class_uid:
            name = party.product or "unknown product"
            version = party.implementation_version_name
            words.append(f"{side}: {name}, {version} ({party.implementation_class_uid})")
    return f"<p class=meta>{escape('. '.join(words))}</p>" if words else ""


def _contexts(lines: Sequence[ContextLine], *, opened: bool) -> str:
    rows = []
    for line in sorted(lines, key=lambda one: not one.change):
        syntaxes = ", ".join(name_of(uid) for uid in line.transfer_syntaxes)
        works = bool(line.transfer_syntax)
        rows.append(
            f"<tr><td>{line.presentation_context_id}</td><td>{escape(name_of(line.abstract_syntax))}</td>"
            f"<td>{escape(syntaxes)}</td><td class={'yes' if works else 'no'}>{escape(line.words)}</td>"
            f"<td>{escape(line.change)}</td></tr>"
        )
    refused = sum(bool(line.change) for line in lines)
    state = " open" if opened and refused else ""
    return (
        f"<details{state}><summary>Presentation contexts: {len(lines)} proposed, {refused} refused</summary>"
        "<div class=scroll><table><tr><th>ID</th><th>Asked for</th><th>In</th><th>Answer</th>"
        f"<th>To make it work</th></tr>{''.join(rows)}</table></div></details>"
    )
