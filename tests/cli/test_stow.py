"""STOW-RS as a client: how requests are cut, what answers mean."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomwire.cli import stow
from dicomwire.services.instances import DataSet, Instance
from dicomwire.services.sending import Outcome
from dicomwire.web import store_answer

EXPLICIT = "1.2.840.10008.1.2.1"


def unopened() -> AbstractContextManager[DataSet]:
    raise AssertionError("nothing is read when requests are planned")


def instance(uid: str, length: int = 10, name: str = "file.dcm") -> Instance:
    return Instance(name, "1.2", uid, EXPLICIT, length, unopened)


def answer(**sequences: list[dict[str, object]]) -> bytes:
    return json.dumps(
        {tag.lstrip("t"): {"vr": "SQ", "Value": items} for tag, items in sequences.items()}
    ).encode()


def item(uid: str, **codes: int) -> dict[str, object]:
    row: dict[str, object] = {store_answer.REFERENCED_SOP_INSTANCE_UID: {"vr": "UI", "Value": [uid]}}
    return row | {tag.lstrip("t"): {"vr": "US", "Value": [code]} for tag, code in codes.items()}


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, stow.MOST_BYTES))))
def test_requests_hold_all_in_order_within_limits(drawn: list[tuple[int, int]]) -> None:
    instances = [instance(f"1.{number}", length) for number, length in drawn]
    shares = list(stow.requests(instances))
    assert [each for share in shares for each in share] == instances
    for share in shares:
        assert 0 < len(share) <= stow.MOST_INSTANCES
        assert len({each.sop_instance_uid for each in share}) == len(share)
        assert len(share) == 1 or sum(each.length for each in share) <= stow.MOST_BYTES


def test_each_instance_gets_its_own_outcome() -> None:
    body = answer(
        t00081199=[item("1.1"), item("1.2", t00081196=0xB000)],
        t00081198=[item("1.3", t00081197=0xA900)],
    )
    deliveries = stow.judge([instance(f"1.{number}") for number in range(1, 5)], 202, body)
    assert [each.outcome for each in deliveries] == [
        Outcome.STORED,
        Outcome.WARNING,
        Outcome.REFUSED,
        Outcome.REFUSED,
    ]
    assert [each.status for each in deliveries] == [0, 0xB000, 0xA900, None]
    assert "A900" in deliveries[2].reason


def test_what_a_service_says_of_an_instance_is_shown() -> None:
    """Error Comment (0000,0902), which this node and others put beside the reason."""
    comment = {"00000902": {"vr": "LO", "Value": ["Stored as a conflict"]}}
    body = answer(
        t00081199=[item("1.1", t00081196=0xB000) | comment],
        t00081198=[item("1.2", t00081197=0xA900) | comment],
    )
    stored, refused = stow.judge([instance("1.1"), instance("1.2")], 202, body)
    assert stored.reason == "B000H Coercion of Data Elements: Stored as a conflict"
    assert refused.reason.startswith("A900H ")
    assert refused.reason.endswith(": Stored as a conflict")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<NativeDicomModel/>"])
def test_a_bare_200_means_stored_with_a_warning(body: bytes) -> None:
    (delivery,) = stow.judge([instance("1.1")], 200, body)
    assert delivery.outcome is Outcome.WARNING
    assert delivery.reason == "HTTP 200 says stored, and names no instance"
    (delivery,) = stow.judge([instance("1.1")], 202, body)
    assert delivery.outcome is Outcome.REFUSED, "not all are stored, and nothing says which"


@pytest.mark.parametrize(
    "body", [b"<html>log in</html>", b'{"message": "log in"}', answer(t00081199=[item("1.2")]), b"stored"]
)
def test_a_200_that_does_not_say_so_does_not_mean_stored(body: bytes) -> None:
    (delivery,) = stow.judge([instance("1.1")], 200, body)
    assert delivery.outcome is Outcome.REFUSED
    assert delivery.reason == "HTTP 200 OK, and nothing says that it is stored"


@pytest.mark.parametrize("code", [301, 400, 401, 403, 404, 409, 413, 500, 503])
def test_any_other_status_means_refused_and_is_named(code: int) -> None:
    (delivery,) = stow.judge([instance("1.1")], code, b'{"title": "x", "detail": "because"}')
    assert delivery.outcome is Outcome.REFUSED
    assert str(code) in delivery.reason
    assert delivery.reason.endswith(": because")


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["00081198", "00081199", "Value", "00081155", "x"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_body_is_an_outcome(body: bytes) -> None:
    (delivery,) = stow.judge([instance("1.1")], 202, body)
    assert delivery.outcome in Outcome


def test_a_bare_data_set_gets_its_file_meta_information(tmp_path: Path) -> None:
    file = tmp_path / "one.dcm"
    file.write_bytes(bytes(1000))
    assert stow._upload(instance("1.1", 1000, str(file))).head[128:132] == b"DICM"
    assert stow._upload(instance("1.2", 700, str(file))).head == b""
