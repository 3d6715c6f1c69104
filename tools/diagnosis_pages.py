"""Write docs/diagnosis: a page for each cause, from the rules, and an index.

`--check` writes nothing and fails when a file is not what it would write.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dicomwire.diagnose.rules import RULES, Rule

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "diagnosis"

HEAD = """# Causes

What `dicomwire explain` and `dicomwire doctor` find, in the order in which causes explain each other: the
first one that fits is the verdict. Written by `tools/diagnosis_pages.py` from `src/dicomwire/diagnose/rules`;
`make docs` writes it again.

| code | layer | severity | what happened |
|---|---|---|---|
"""


def pages() -> dict[str, str]:
    """Each file's name and text."""
    rows = [
        f"| [`{rule.code}`]({rule.code}.md) | {rule.layer} | {rule.severity} | {_plain(rule.summary)} |\n"
        for rule in RULES
    ]
    found = {"README.md": HEAD + "".join(rows)}
    for rule in RULES:
        found[f"{rule.code}.md"] = _page(rule)
    return found


def _page(rule: Rule) -> str:
    fixes = "\n".join(
        f"- **{side}:** {_plain(words)}"
        for side, words in (
            ("requestor", rule.fix.requestor),
            ("acceptor", rule.fix.acceptor),
            ("network", rule.fix.network),
        )
        if words
    )
    parts = [
        f"# {rule.code}",
        f"*{_plain(rule.summary)}*",
        f"layer {rule.layer} · {rule.severity} · side: {rule.side} · {rule.confidence} · {rule.reference}",
        f"## Why\n\n{_plain(rule.why)}",
        f"## What to change\n\n{fixes}" if fixes else "",
        f"## Check next\n\n{_plain(rule.check)}" if rule.check else "",
        "[All causes](README.md)",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _plain(words: str) -> str:
    """The rule's words, the names of what is filled in in italics."""
    return re.sub(r"\{(\w+)\}", lambda match: f"<i>{match[1].replace('_', ' ')}</i>", words)


def main() -> int:
    """Exit status 1 with --check, when a file is out of date."""
    wanted = pages()
    have = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    if sys.argv[1:] == ["--check"]:
        wrong = sorted(name for name in wanted.keys() | have.keys() if wanted.get(name) != have.get(name))
        if wrong:
            print(f"docs/diagnosis is out of date ({', '.join(wrong[:5])}): run `make docs`", file=sys.stderr)
        return bool(wrong)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in have.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
