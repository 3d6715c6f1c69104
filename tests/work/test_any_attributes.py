"""Whatever attribute lists peers send: taken or refused with a reason, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomwire.dicom.data_set import Attribute, DataSet, decode, encode, from_json, tag_of, to_json
from dicomwire.errors import InvalidAttribute
from dicomwire.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dicomwire.work import availability, commitment, procedure_steps
from dicomwire.work.availability import RULES
from dicomwire.work.commitment import REQUEST, RESULT
from dicomwire.work.procedure_steps import CREATE, Followers
from dicomwire.work.refusal import Refused
from dicomwire.work.store import Store, open_store
from tests.work.steps import beginning, end

TAGS: Final = sorted(
    {
        tag_of(rule.keyword)
        for rules in (CREATE, REQUEST, RESULT, RULES)
        for outer in rules
        for rule in (outer, *outer.items, *(inner for middle in outer.items for inner in middle.items))
    }
)
TEXT = st.sampled_from(["", "1.2.3", "1..2", "IN PROGRESS", "COMPLETED", "ONLINE", "x" * 80, "Ä", " "])
VALUES = {
    "UI": TEXT,
    "CS": TEXT,
    "LO": TEXT,
    "US": st.integers(0, 0xFFFF),
    "FD": st.floats(allow_nan=True),
    "AT": st.integers(0, 0xFFFFFFFF),
    "OB": st.binary(max_size=4),
}


def attributes() -> st.SearchStrategy[Attribute]:
    """Any VR for any attribute: peers write what they like."""
    plain = st.sampled_from(sorted(VALUES)).flatmap(
        lambda vr: st.lists(VALUES[vr], max_size=1 if vr == "OB" else 3).map(
            lambda values: Attribute(vr, tuple(values))
        )
    )
    return st.recursive(
        plain,
        lambda inner: st.lists(
            st.dictionaries(st.sampled_from(TAGS), inner, max_size=4).map(DataSet), max_size=3
        ).map(lambda items: Attribute("SQ", tuple(items))),
        max_leaves=8,
    )


def test_a_failure_reason_that_is_no_number_is_refused() -> None:
    reference = commitment.Reference("1.2", "1.3")
    report = commitment.report(commitment.Result("1.2", (), ((reference, 0x0112),)))
    (item,) = report.sequence("FailedSOPSequence")
    item.put("FailureReason", "many", vr="LO")
    with pytest.raises(Refused, match="Failure Reason"):
        commitment.read_report(report)


def data_sets() -> st.SearchStrategy[DataSet]:
    """Attribute lists as they come off the wire; some begin as a whole one."""
    changes = st.dictionaries(st.sampled_from(TAGS), attributes(), max_size=6)
    whole = st.sampled_from([DataSet(), beginning(), end()])
    return st.tuples(whole, changes).map(lambda pair: DataSet({**pair[0], **pair[1]}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=data_sets(), number=st.integers(0, 10**9))
def test_any_attribute_list_is_taken_or_refused(store: Store, sent: DataSet, number: int) -> None:
    with suppress(InvalidAttribute):
        sent = decode(encode(sent, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)
        to_json(sent)
        uid, everybody = f"1.2.{number}", Followers(("A",), ("B",))
        for call in (
            lambda: store.apply(lambda c: procedure_steps.create(c, uid, sent, everybody, now=0)),
            lambda: store.apply(lambda c: procedure_steps.update(c, uid, sent, everybody, now=0)),
            lambda: store.apply(lambda c: availability.take(c, uid, "X", sent, now=0)),
            lambda: commitment.asked(sent),
            lambda: commitment.read_report(sent),
        ):
            with suppress(Refused):
                call()
        for (content,) in store.rows("SELECT attributes FROM procedure_step"):
            from_json(str(content))
