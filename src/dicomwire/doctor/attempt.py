"""One association of the doctor's: asked for, used, released, and explained by the rules."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from dicomwire.association.association import Association
from dicomwire.association.options import RequestorOptions, Timeouts
from dicomwire.association.requestor import Context, request_association
from dicomwire.diagnose.explain import rank
from dicomwire.diagnose.finding import Confidence, Evidence, Finding, Layer, Outcome, Side, Story
from dicomwire.diagnose.rules import RULE_OF, Hit
from dicomwire.doctor.journal import Journal, Line
from dicomwire.errors import AssociationError, AssociationTimeout, ConnectionFailed, ConnectionLost, TLSFailed
from dicomwire.upper_layer.items import UserIdentityRq

SETTLE: Final = 0.5  # seconds that an ended connection has to close
Work = Callable[[Association], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to ask for.

    Attributes:
        host: a numeric address.
        name: the host as the peer's certificate should name it.
        tls: a client context, or None.
        tls_certificate: it has a certificate of our own.
        budget: seconds for each step.
    """

    host: str
    port: int
    name: str
    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[Context, ...]
    budget: float
    tls: ssl.SSLContext | None = None
    tls_certificate: bool = False
    identity: UserIdentityRq | None = None

    @property
    def options(self) -> RequestorOptions:
        budget = self.budget
        timeouts = Timeouts(
            connect=budget, tls=budget, artim=budget, dimse=budget, release=min(budget, 1.0), linger=0.2
        )
        return RequestorOptions(
            timeouts=timeouts, tls=self.tls, server_hostname=self.name, identity=self.identity
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How it went.

    Attributes:
        line: the connection.
        story: of the connection; None where there was none.
        finding: the cause; None where the association was accepted and its work done.
        accepted: there was an association with at least one accepted context.
        error: what ended it early.
    """

    proposal: Proposal
    line: Line
    story: Story | None
    finding: Finding | None
    accepted: bool
    error: AssociationError | None

    @property
    def connected(self) -> bool:
        return self.line.opened_at is not None


async def attempt(journal: Journal, proposal: Proposal, work: Work | None = None) -> Attempt:
    """Request an association, do some work on it, release it; no failure of the peer's raises."""
    line = journal.line()
    error: AssociationError | None = None
    accepted = False
    try:
        association = await request_association(
            proposal.host,
            proposal.port,
            called_ae_title=proposal.called_ae_title,
            calling_ae_title=proposal.calling_ae_title,
            contexts=proposal.contexts,
            options=proposal.options,
            recorder=line,
        )
        accepted = True
        await _use(association, work)
    except AssociationError as failure:
        error = failure
    await _settled(line)
    story = journal.story(line) if line.opened_at is not None else None
    finding = cause(proposal, line, story, error)
    if story is not None and finding is not None and finding is not story.verdict:
        story = with_verdict(story, finding)
    return Attempt(proposal=proposal, line=line, story=story, finding=finding, accepted=accepted, error=error)


async def _use(association: Association, work: Work | None) -> None:
    try:
        if work is not None:
            await work(association)
    except BaseException:
        association.abort(why="the examination ends here")
        raise
    await association.release()


async def _settled(line: Line) -> None:
    """Wait for the end of the connection, which the rules want to see."""
    if line.opened_at is None:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE):
            await line.over.wait()
    line.closed(by_peer=False, error=None)


def cause(
    proposal: Proposal, line: Line, story: Story | None, error: AssociationError | None
) -> Finding | None:
    """Why an attempt failed; None where it did not."""
    if line.opened_at is None and error is not None:
        return _no_connection(proposal, error)
    if line.tls_error is not None:
        certain = tls_finding(proposal, line.tls_error)
        if certain is not None:
            return certain
    if _hung_up_after_handshake(proposal, line, error):
        values = {**values_of(proposal), "alert": ", it seems: it hangs up right behind the handshake"}
        hit = Hit(values=values, evidence=(Evidence(what=str(error)),), confidence=Confidence.LIKELY)
        return RULE_OF["tls-client-certificate-required"].finding(hit)
    if isinstance(error, TLSFailed | AssociationTimeout) and proposal.tls and line.secured_at is None:
        return _tls_by_trace(proposal, story, error)
    if error is None and story is not None and story.outcome is Outcome.OK:
        return None
    if story is not None and story.verdict is not None and (error or story.outcome is Outcome.FAILED):
        return story.verdict
    return None if error is None else _unexplained(proposal, error)


def _hung_up_after_handshake(proposal: Proposal, line: Line, error: AssociationError | None) -> bool:
    """In TLS 1.3 a server refuses the missing certificate behind the handshake; not all send an alert."""
    silent = line.secured_at is not None and not line.received_bytes
    return silent and not proposal.tls_certificate and isinstance(error, ConnectionLost)


def values_of(proposal: Proposal) -> dict[str, str | int | float | bool | None]:
    """What the words of most rules name."""
    return {
        "calling": proposal.calling_ae_title,
        "called": proposal.called_ae_title,
        "requestor": f"{proposal.calling_ae_title} here",
        "acceptor": f"{proposal.called_ae_title}@{proposal.name}:{proposal.port}",
        "requestor_address": "this machine",
        "acceptor_address": proposal.name,
        "port": proposal.port,
    }


def _no_connection(proposal: Proposal, error: AssociationError) -> Finding:
    system = error.__cause__
    words = str(error)
    seen = (Evidence(what=words),)
    values = values_of(proposal)
    number = system.errno if isinstance(system, OSError) else None
    if isinstance(error, AssociationTimeout):
        values |= {"times": "no answer to", "seconds": f"{proposal.budget:.1f}"}
        return RULE_OF["tcp-no-answer"].finding(Hit(values=values, evidence=seen))
    if isinstance(error, ConnectionFailed) and (
        isinstance(system, ConnectionRefusedError) or "refuses" in words
    ):
        return RULE_OF["tcp-refused"].finding(Hit(values=values, evidence=seen))
    if isinstance(system, ConnectionResetError):
        return RULE_OF["tcp-reset"].finding(Hit(values={**values, "sender": "acceptor"}, evidence=seen))
    values |= {"words": words if number is None else os.strerror(number), "by": "this machine's network"}
    return RULE_OF["icmp-unreachable"].finding(Hit(values=values, evidence=seen))


# Numbers of X509_V_ERR_ codes.
_EXPIRED: Final = frozenset({9, 10})  # not yet, or no longer, valid
_NAMES: Final = frozenset({62, 63, 64})  # host name, e-mail, IP address mismatch

# Words of OpenSSL's reasons, and what they stand for; who refuses.
_REASONS: Final = (
    ("CERTIFICATE_REQUIRED", "tls-client-certificate-required", Side.ACCEPTOR),
    ("UNKNOWN_CA", "tls-untrusted-certificate", Side.ACCEPTOR),
    ("ALERT_CERTIFICATE_EXPIRED", "tls-expired-certificate", Side.ACCEPTOR),
    ("ALERT_BAD_CERTIFICATE", "tls-untrusted-certificate", Side.ACCEPTOR),
    ("ALERT_CERTIFICATE_UNKNOWN", "tls-untrusted-certificate", Side.ACCEPTOR),
    ("PROTOCOL_VERSION", "tls-no-common-version", Side.ACCEPTOR),
    ("UNSUPPORTED_PROTOCOL", "tls-no-common-version", Side.REQUESTOR),
    ("INSUFFICIENT_SECURITY", "tls-no-common-version", Side.ACCEPTOR),
)


def tls_finding(proposal: Proposal, error: ssl.SSLError) -> Finding | None:
    """What OpenSSL's words mean for certain; None where the records have to tell."""
    reason = error.reason or str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        code, refuser = "tls-untrusted-certificate", Side.REQUESTOR
        if error.verify_code in _EXPIRED:
            code = "tls-expired-certificate"
        elif error.verify_code in _NAMES or "match" in error.verify_message:
            code = "tls-name-mismatch"
        reason = error.verify_message
    else:
        found = next(((code, side) for sign, code, side in _REASONS if sign in reason), None)
        if found is None:
            return None
        code, refuser = found
    shower = Side.ACCEPTOR if refuser is Side.REQUESTOR else Side.REQUESTOR
    values = {
        **values_of(proposal),
        "refuser": refuser,
        "shower": shower,
        "alert": f" ({reason.replace('_', ' ').lower()})",
        "versions": "TLSv1.2, TLSv1.3",
        "names": "",
    }
    return RULE_OF[code].finding(Hit(values=values, evidence=(Evidence(what=f"TLS: {reason}"),)))


def _tls_by_trace(proposal: Proposal, story: Story | None, error: AssociationError) -> Finding:
    if story is not None and story.verdict is not None and story.verdict.layer is not Layer.CAPTURE:
        return story.verdict
    seen = Evidence(what=str(error))
    values = {**values_of(proposal), "refuser": "acceptor", "alert": f" ({error})"}
    return RULE_OF["tls-handshake-failed"].finding(
        Hit(values=values, evidence=(seen,), confidence=Confidence.LIKELY)
    )


def _unexplained(proposal: Proposal, error: AssociationError) -> Finding:
    """No rule knows it from the bytes: the words of the association layer."""
    code = "association-no-answer" if isinstance(error, AssociationTimeout) else "abort-by-acceptor"
    values = {**values_of(proposal), "seconds": f"{proposal.budget:.1f}", "words": str(error)}
    return RULE_OF[code].finding(Hit(values=values, evidence=(Evidence(what=str(error)),)))


def with_verdict(story: Story, finding: Finding) -> Story:
    """A story whose cause is known better than its bytes tell."""
    others = [one for one in story.findings if one.code != finding.code and one.layer is not Layer.CAPTURE]
    return replace(story, outcome=Outcome.FAILED, verdict=finding, findings=(finding, *rank(others)))
