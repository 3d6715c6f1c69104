"""Every reject and abort code by name and in words."""

from __future__ import annotations

import pytest

from dicomwire.upper_layer.reasons import (
    AbortReason,
    AcseReason,
    PresentationReason,
    RejectResult,
    RejectSource,
    UserReason,
    abort_words,
    reject_words,
)


@pytest.mark.parametrize(
    ("result", "source", "reason", "words"),
    [
        (1, 1, 1, "rejected-permanent by the service-user: no reason given (1/1/1)"),
        (1, 1, 2, "rejected-permanent by the service-user: application context name not supported (1/1/2)"),
        (1, 1, 3, "rejected-permanent by the service-user: calling AE title not recognized (1/1/3)"),
        (1, 1, 7, "rejected-permanent by the service-user: called AE title not recognized (1/1/7)"),
        (
            1,
            2,
            1,
            "rejected-permanent by the service-provider (ACSE related function): no reason given (1/2/1)",
        ),
        (
            1,
            2,
            2,
            "rejected-permanent by the service-provider (ACSE related function):"
            " protocol version not supported (1/2/2)",
        ),
        (
            2,
            3,
            1,
            "rejected-transient by the service-provider (Presentation related function):"
            " temporary congestion (2/3/1)",
        ),
        (
            2,
            3,
            2,
            "rejected-transient by the service-provider (Presentation related function):"
            " local limit exceeded (2/3/2)",
        ),
        (1, 1, 4, "rejected-permanent by the service-user: reserved reason 4 (1/1/4)"),
        (0, 9, 0, "rejected with the reserved result 0 by the reserved source 9: reserved reason 0 (0/9/0)"),
    ],
)
def test_rejection_in_words(result: int, source: int, reason: int, words: str) -> None:
    assert reject_words(result, source, reason) == words


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        (0, 0, "aborted by the service-user (0/0)"),
        (0, 6, "aborted by the service-user (0/6)"),
        (2, 0, "aborted by the service-provider: reason not specified (2/0)"),
        (2, 1, "aborted by the service-provider: unrecognized PDU (2/1)"),
        (2, 2, "aborted by the service-provider: unexpected PDU (2/2)"),
        (2, 3, "aborted by the service-provider: reserved reason 3 (2/3)"),
        (2, 4, "aborted by the service-provider: unrecognized PDU parameter (2/4)"),
        (2, 5, "aborted by the service-provider: unexpected PDU parameter (2/5)"),
        (2, 6, "aborted by the service-provider: invalid PDU parameter value (2/6)"),
        (1, 0, "aborted by the reserved source 1: reason not specified (1/0)"),
    ],
)
def test_abort_in_words(source: int, reason: int, words: str) -> None:
    assert abort_words(source, reason) == words


def test_every_code_that_is_named_has_words() -> None:
    reasons = {
        RejectSource.SERVICE_USER: UserReason,
        RejectSource.SERVICE_PROVIDER_ACSE: AcseReason,
        RejectSource.SERVICE_PROVIDER_PRESENTATION: PresentationReason,
    }
    for result in RejectResult:
        for source, kind in reasons.items():
            for reason in kind:
                assert "reserved" not in reject_words(result, source, reason)
    assert not any("reserved" in abort_words(2, reason) for reason in AbortReason)
