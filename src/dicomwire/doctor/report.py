"""What an examination found: its steps, and the verdict they lead to."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from dicomwire.diagnose.explain import rank
from dicomwire.diagnose.finding import Finding, Outcome, Severity, Story, timestamp
from dicomwire.doctor.matrix import Matrix


class Result(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    INFO = "info"  # it tells something and decides nothing
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was tried.

    Attributes:
        name: such as `associate`.
        result: how it ended.
        words: what came of it.
        began: seconds after the examination's beginning.
        seconds: how long it took.
        finding: the cause, where it failed.
    """

    name: str
    result: Result
    words: str
    began: float
    seconds: float
    finding: Finding | None = None

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "result": self.result,
            "words": self.words,
            "began": round(self.began, 4),
            "seconds": round(self.seconds, 4),
            "finding": self.finding.as_json() if self.finding else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One examination.

    Attributes:
        target: the peer, as asked for.
        started: seconds since 1970.
        seconds: how long it took.
        steps: in the order in which they were done.
        healthy: words for a peer that is well.
        story: of the association that decided, with its sequence.
        matrix: what the peer accepts, where asked for.
    """

    target: str
    started: float
    seconds: float
    steps: tuple[Step, ...]
    healthy: str = ""
    story: Story | None = None
    matrix: Matrix | None = None
    findings: tuple[Finding, ...] = field(init=False)

    def __post_init__(self) -> None:
        of_steps = [step.finding for step in self.steps if step.finding is not None]
        first = [step.finding for step in self.steps if step.finding and step.result is Result.FAILED][:1]
        others = [*of_steps, *(self.story.findings if self.story else ())]
        known = {finding.code: finding for finding in reversed([*first, *others])}
        ranked = rank(known.values())
        ordered = (*first, *(one for one in ranked if one.code not in {finding.code for finding in first}))
        object.__setattr__(self, "findings", ordered)

    @property
    def verdict(self) -> Finding | None:
        """What decides: the cause of the first step that failed; None where all is well."""
        return next(
            (
                step.finding
                for step in self.steps
                if step.result is Result.FAILED and step.finding is not None
            ),
            None,
        )

    @property
    def outcome(self) -> Outcome:
        failed = any(step.result is Result.FAILED for step in self.steps)
        return Outcome.FAILED if failed else Outcome.OK

    @property
    def others(self) -> tuple[Finding, ...]:
        """Warnings: what failed besides is the verdict's consequence, or our own giving up."""
        return tuple(one for one in self.findings if one.severity is Severity.WARNING)

    def as_json(self) -> dict[str, object]:
        verdict = self.verdict
        facts: dict[str, object] = {
            "target": self.target,
            "started": timestamp(self.started),
            "seconds": round(self.seconds, 3),
            "outcome": self.outcome,
            "code": verdict.code if verdict else None,
            "summary": verdict.summary if verdict else self.healthy,
            "verdict": verdict.as_json() if verdict else None,
            "findings": [finding.as_json() for finding in self.findings],
            "steps": [step.as_json() for step in self.steps],
            "story": self.story.as_json() if self.story else None,
            "matrix": self.matrix.as_json() if self.matrix else None,
        }
        if self.matrix is not None:
            facts |= {"peer": self.target, "contexts": self.matrix.contexts()}
        return facts
