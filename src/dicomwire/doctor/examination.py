"""Examines a peer step by step: resolve, connect, TLS, associate, echo; then why not, or what else."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Final

from dicomwire.association.association import Association
from dicomwire.association.requestor import Context
from dicomwire.diagnose.finding import Confidence, Evidence, Finding, Story
from dicomwire.diagnose.rules import RULE_OF, Hit
from dicomwire.dimse import status
from dicomwire.doctor import exercise, matrix, variants
from dicomwire.doctor.attempt import Attempt, Proposal, Work, attempt, cause, values_of, with_verdict
from dicomwire.doctor.journal import Journal
from dicomwire.doctor.matrix import Matrix
from dicomwire.doctor.options import SECOND_LOOK, STEPS_WAITED, ExaminationOptions, Target
from dicomwire.doctor.report import Report, Result, Step
from dicomwire.doctor.sniff import Addresses, NotResolved, describe_versions, resolve, sniff, try_any_tls
from dicomwire.services.verification import verify
from dicomwire.uids import name_of

MOST_ADDRESSES: Final = 3  # of a name that are tried
SNIFF_SECONDS: Final = 1.5
SHORTEST: Final = 0.3  # seconds below which a step is not begun

# Causes that may hide that something else than DICOM, or TLS, is on the port.
_FOREIGN: Final = frozenset(
    {
        "association-no-answer",
        "tcp-closed-before-answer",
        "tcp-reset",
        "not-dicom",
        "plain-client-on-tls-port",
    }
    | {"pdu-unknown-type", "pdu-malformed", "pdu-truncated", "abort-before-response", "tcp-half-open"}
)
_NO_TLS: Final = frozenset({"tls-client-on-plain-port", "tls-handshake-failed", "tls-opaque"})
_PASSING: Final = frozenset({"reject-congestion", "reject-local-limit", "acceptor-busy"})
_CONTEXTS: Final = frozenset(
    {"no-accepted-context", "context-abstract-syntax", "context-transfer-syntax", "context-refused"}
    | {"reject-no-reason"}
)


async def examine(target: Target, options: ExaminationOptions) -> tuple[Report, bytes]:
    """Find out whether a peer works, and if not, why not.

    Returns: the report, and everything that went over the doctor's connections as pcapng.
    """
    examination = _Examination(target, options)
    await examination.run()
    return examination.report(), examination.journal.capture()


@dataclass(slots=True)
class _Examination:
    target: Target
    options: ExaminationOptions
    journal: Journal = field(default_factory=lambda: Journal(time.time))
    steps: list[Step] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    began: float = field(default_factory=time.perf_counter)
    story: Story | None = None
    matrix: Matrix | None = None
    healthy: str = ""
    echoed: float | None = None
    _step_began: float = 0.0

    # -- the course of it

    async def run(self) -> None:
        addresses = await self._resolve()
        if not addresses:
            return
        first = await self._associate(addresses)
        if first.finding is not None:
            await self._look_closer(first)
            return
        await self._try_variants(first)
        proposal = self.proposal(first.proposal.host)
        steps, failed = await exercise.run(self.ask, proposal, self.options, self._mark)
        self.steps += steps
        self.story = failed or self.story
        if self.options.matrix:
            await self._find_out(first)

    def report(self) -> Report:
        return Report(
            target=str(self.target),
            started=self.started,
            seconds=time.perf_counter() - self.began,
            steps=tuple(self.steps),
            healthy=self.healthy,
            story=self.story,
            matrix=self.matrix,
        )

    def proposal(self, host: str) -> Proposal:
        """Verification, as asked for on the command line."""
        target, options = self.target, self.options
        return Proposal(
            host=host,
            port=target.port,
            name=target.host,
            called_ae_title=target.called_ae_title,
            calling_ae_title=options.calling_ae_title,
            contexts=variants.VERIFICATION_ALONE,
            budget=self._budget(),
            tls=options.tls,
            tls_certificate=options.tls_certificate,
            identity=options.identity,
        )

    async def ask(self, proposal: Proposal, work: Work | None = None) -> Attempt:
        """Request an association; on top of the connections there were."""
        return await attempt(self.journal, proposal, work)

    # -- time

    def _mark(self) -> float:
        """Seconds since the examination began."""
        return time.perf_counter() - self.began

    def _budget(self) -> float:
        """Seconds for the next step: what is left of all steps' time, at most one step's."""
        left = self.options.wait * STEPS_WAITED - self._mark()
        return max(SHORTEST, min(self.options.wait, left))

    @property
    def _hurry(self) -> bool:
        return self.options.wait * STEPS_WAITED - self._mark() < SHORTEST

    def _add(
        self, name: str, result: Result, words: str, seconds: float, finding: Finding | None = None
    ) -> None:
        began = max(0.0, self._mark() - seconds)
        self.steps.append(
            Step(name=name, result=result, words=words, began=began, seconds=seconds, finding=finding)
        )

    # -- resolve, connect, associate, echo

    async def _resolve(self) -> Addresses:
        began = self._mark()
        host = self.target.host
        try:
            addresses = await resolve(host, self._budget())
        except NotResolved as error:
            hit = Hit(values={"name": host, "words": str(error)}, evidence=(Evidence(what=str(error)),))
            finding = RULE_OF["name-not-resolved"].finding(hit)
            self._add("resolve", Result.FAILED, str(error), self._mark() - began, finding)
            return ()
        self._add("resolve", Result.OK, ", ".join(addresses), self._mark() - began)
        return addresses[:MOST_ADDRESSES]

    async def _associate(self, addresses: Addresses) -> Attempt:
        """The first address that takes the connection decides; if none does, the first address."""
        failed: list[Attempt] = []
        for address in addresses:
            began = self._mark()
            tried = await self.ask(self.proposal(address), self._echo)
            if tried.connected or (address == addresses[-1] and not failed):
                self._tell_first(tried, began)
                return tried
            failed.append(tried)
            if self._hurry:
                break
        self._tell_first(failed[0], began)
        return failed[0]

    async def _echo(self, association: Association) -> None:
        asked = time.perf_counter()
        answer = await verify(association)
        if answer.status == status.SUCCESS:
            self.echoed = time.perf_counter() - asked

    def _tell_first(self, tried: Attempt, began: float) -> None:
        """The steps that one attempt was: the one that failed has the cause."""
        self.story, line = tried.story, tried.line
        finding, total = tried.finding, self._mark() - began
        where = f"{tried.proposal.host} port {tried.proposal.port}"
        if line.opened_at is None:
            self._add("connect", Result.FAILED, finding.summary if finding else "", total, finding)
            return
        connected = max(0.0, line.opened_at - self.started - began)
        self._add("connect", Result.OK, where, connected)
        if tried.proposal.tls is not None:
            if line.secured_at is None or (finding and finding.code.startswith("tls-")):
                self._add("tls", Result.FAILED, finding.summary if finding else "", total, finding)
                return
            self._add("tls", Result.OK, "handshake complete", line.secured_at - line.opened_at)
        if not tried.accepted:
            self._add("associate", Result.FAILED, finding.summary if finding else "", total, finding)
            return
        ready = line.secured_at or line.opened_at
        answered = (line.answered_at or ready) - ready
        self._add("associate", Result.OK, f"accepted by {self._peer(tried)}", answered)
        if finding is not None or self.echoed is None:
            words = finding.summary if finding else "C-ECHO was not answered with success"
            self._add("echo", Result.FAILED, words, total - answered, finding)
            return
        self._add("echo", Result.OK, f"C-ECHO answered in {self.echoed * 1000:.1f} ms", self.echoed)
        self.healthy = (
            f"{self.target} works: {self._peer(tried)} answered C-ECHO in {self.echoed * 1000:.1f} ms"
        )

    def _peer(self, tried: Attempt) -> str:
        party = tried.story.acceptor if tried.story else None
        if party is None or not (party.product or party.implementation_class_uid):
            return "a nameless implementation"
        return party.product or party.implementation_version_name or party.implementation_class_uid

    # -- why not

    async def _look_closer(self, first: Attempt) -> None:
        code = first.finding.code if first.finding else ""
        if not first.connected:
            return
        if code in _NO_TLS and first.proposal.tls is not None:
            await self._without_tls(first)
        elif code in _FOREIGN and first.proposal.tls is None and not first.accepted:
            await self._sniff(first)
        elif code == "reject-called-ae-title":
            titles = variants.called_variants(self.target.called_ae_title, self.options.calling_ae_title)
            await self._try_titles(first, called=titles)
        elif code == "reject-calling-ae-title":
            titles = variants.calling_variants(self.options.calling_ae_title, self.target.called_ae_title)
            await self._try_titles(first, calling=titles)
        elif code == "reject-user-identity" and first.proposal.identity is not None:
            await self._without_identity(first)
        elif code in _PASSING:
            again = await self.ask(self._fresh(first.proposal))
            self._add_variant("once more", again)
        elif code in _CONTEXTS:
            await self._try_contexts(first)

    async def _sniff(self, first: Attempt) -> None:
        began = self._mark()
        host, port = first.proposal.host, first.proposal.port
        budget = min(SNIFF_SECONDS * self.options.wait / 3, self._budget())
        found = await sniff(self.journal, host, port, name=self.target.host, budget=budget)
        self._add("sniff", Result.INFO, found.words, self._mark() - began)
        self._revise(first)

    async def _without_tls(self, first: Attempt) -> None:
        plain = await self.ask(replace(self._fresh(first.proposal), tls=None))
        self._add_variant("without TLS", plain)
        self._revise(first)
        answer = plain.line.first or b"\0"
        if plain.accepted or 2 <= answer[0] <= 7:
            return
        if plain.finding is not None and plain.finding.code == "association-no-answer":
            self._replace_finding(plain.finding)  # it says nothing, whatever it is asked
            self.story = with_verdict(self.story, plain.finding) if self.story else None
            return
        await self._any_tls(first)

    async def _any_tls(self, first: Attempt) -> None:
        """Neither plain DICOM nor our TLS: is it another version of TLS, or nothing?"""
        began, proposal, context = self._mark(), first.proposal, first.proposal.tls
        budget = self._fresh(proposal).budget
        agreed = await try_any_tls(self.journal, proposal.host, proposal.port, budget)
        self._add("any TLS version", Result.INFO, agreed or "no TLS of any version", self._mark() - began)
        words = f" (the peer takes another: {agreed})" if agreed else " and says no word"
        offered = describe_versions(context) if context is not None else ""
        values = {**values_of(proposal), "refuser": "acceptor", "alert": words, "versions": offered}
        seen = Evidence(what=agreed or "no answer to a ClientHello")
        rule = RULE_OF["tls-no-common-version" if agreed else "tls-handshake-failed"]
        finding = rule.finding(Hit(values=values, evidence=(seen,), confidence=Confidence.LIKELY))
        self._replace_finding(finding)
        self.story = with_verdict(self.story, finding) if self.story else None

    async def _without_identity(self, first: Attempt) -> None:
        bare = await self.ask(replace(self._fresh(first.proposal), identity=None))
        self._add_variant("without user identity", bare)
        if bare.accepted:
            self._advise(
                "The association is accepted without a user identity: give other credentials, or none."
            )

    async def _try_titles(
        self, first: Attempt, *, called: tuple[str, ...] = (), calling: tuple[str, ...] = ()
    ) -> None:
        """Look for an AE title that the peer takes."""
        fresh = self._fresh(first.proposal)
        tries = [
            *((f"called {title}", title, replace(fresh, called_ae_title=title)) for title in called),
            *((f"calling {title}", title, replace(fresh, calling_ae_title=title)) for title in calling),
        ]
        for words, title, proposal in tries:
            if self._hurry:
                break
            tried = await self.ask(proposal)
            self._add_variant(words, tried)
            if tried.accepted:
                which = "called" if called else "calling"
                self._advise(f"Set the {which} AE title to {title}: the peer accepts the association then.")
                break
            if not tried.connected:
                break

    async def _try_contexts(self, first: Attempt) -> None:
        """Is it Verification, its transfer syntaxes, or everything that the peer does not want?"""
        for words, contexts in (
            ("each transfer syntax alone", variants.ONE_SYNTAX_EACH),
            ("contexts together", variants.TOGETHER),
        ):
            if self._hurry:
                break
            tried = await self.ask(replace(self._fresh(first.proposal), contexts=contexts))
            self._add_variant(words, tried)
            if tried.accepted:
                self._advise(f"The peer does accept {_accepted(tried)}: propose these.")

    # -- what else

    async def _try_variants(self, first: Attempt) -> None:
        """What a peer that is well takes besides, and whether it looks at AE titles."""
        fresh = first.proposal
        other = variants.other_case(self.target.called_ae_title)
        tries: tuple[tuple[str, Proposal], ...] = (
            ("contexts together", replace(fresh, contexts=variants.TOGETHER)),
            (f"called {other}", replace(fresh, called_ae_title=other)),
            ("calling UNKNOWN_AE", replace(fresh, calling_ae_title="UNKNOWN_AE")),
        )
        if fresh.identity is not None:
            tries += (("without user identity", replace(fresh, identity=None)),)
        for words, proposal in tries:
            if self._hurry:
                break
            tried = await self.ask(replace(proposal, budget=self._budget()))
            self._add_variant(words, tried)
            if not tried.connected or (tried.finding and tried.finding.code == "association-no-answer"):
                break

    def _add_variant(self, name: str, tried: Attempt) -> None:
        if tried.accepted:
            words = f"accepted: {_accepted(tried)}"
        else:
            words = tried.finding.summary if tried.finding else str(tried.error)
        opened = tried.line.opened_at
        seconds = time.time() - opened if opened else tried.proposal.budget
        self._add(f"variant: {name}", Result.INFO, words, seconds)

    async def _find_out(self, first: Attempt) -> None:
        began = self._mark()

        async def ask(contexts: tuple[Context, ...]) -> Attempt:
            journal = Journal(time.time)  # its own: thousands of contexts are too much to explain each time
            proposal = replace(first.proposal, contexts=contexts, budget=self.options.wait)
            return await attempt(journal, proposal)

        self.matrix = await matrix.find_out(ask)
        supported = len(self.matrix.supported)
        words = (
            f"{supported} of {len(self.matrix.rows)} SOP classes, in {self.matrix.associations} associations"
        )
        if self.matrix.incomplete:
            words += f"; {self.matrix.incomplete}"
        self._add("matrix", Result.INFO, words, self._mark() - began)

    # -- findings

    def _fresh(self, proposal: Proposal) -> Proposal:
        return replace(proposal, budget=min(self._budget(), SECOND_LOOK * self.options.wait))

    def _revise(self, first: Attempt) -> None:
        """Ask the rules again, now that more connections are in sight."""
        story = self.journal.story(first.line)
        finding = cause(first.proposal, first.line, story, first.error)
        if finding is None:
            return
        if story is not None and finding is not story.verdict:
            story = with_verdict(story, finding)
        self.story = story
        self._replace_finding(finding)

    def _advise(self, words: str) -> None:
        """Put what was found out before the general advice for our side."""
        old = next((step.finding for step in self.steps if step.finding is not None), None)
        if old is None:
            return
        fix = replace(old.fix, requestor=f"{words} {old.fix.requestor}".strip())
        finding = replace(old, fix=fix, evidence=(*old.evidence, Evidence(what=words)))
        self._replace_finding(finding)
        if self.story is not None:
            self.story = with_verdict(self.story, finding)

    def _replace_finding(self, finding: Finding) -> None:
        for place, step in enumerate(self.steps):
            if step.result is Result.FAILED:
                self.steps[place] = replace(step, finding=finding, words=finding.summary)
                return


def _accepted(tried: Attempt) -> str:
    """Names of what a peer accepted, each SOP class once, and what it did not."""
    lines = tried.story.negotiation if tried.story else ()
    taken = list(dict.fromkeys(name_of(line.abstract_syntax) for line in lines if line.transfer_syntax))
    refused = list(dict.fromkeys(name_of(line.abstract_syntax) for line in lines if not line.transfer_syntax))
    refused = [name for name in refused if name not in taken]
    return ", ".join(taken) + (f"; not {', '.join(refused)}" if refused else "")
