"""What is proposed for which use, within the 128 contexts of an association."""

from __future__ import annotations

import pytest

from dicomwire.association.requestor import MOST_CONTEXTS, Context
from dicomwire.services.models import Root
from dicomwire.services.proposals import (
    COMMON_STORAGE,
    COMPRESSED,
    UNCOMPRESSED,
    QueryOptions,
    Use,
    other_storage,
    propose,
    storage_contexts,
)
from dicomwire.uids import (
    PRIVATE_STORAGE_SOP_CLASSES,
    SOP_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    storage_sop_classes,
)
from dicomwire.upper_layer.items import RoleSelection

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def test_everything_fits_one_association() -> None:
    proposal = propose()
    assert len(proposal.contexts) <= MOST_CONTEXTS
    proposed = {context.abstract_syntax for context in proposal.contexts}
    assert {VERIFICATION, CT, Root.STUDY.value.get, Root.WORKLIST.value.find, *COMMON_STORAGE} <= proposed
    assert {role.sop_class_uid for role in proposal.roles} == set(COMMON_STORAGE)


def test_common_ones_are_storage_classes_and_transfer_syntaxes_of_the_registry() -> None:
    assert set(COMMON_STORAGE) <= set(storage_sop_classes())
    assert not any(SOP_CLASSES[uid].retired for uid in COMMON_STORAGE)
    assert set(COMPRESSED) <= TRANSFER_SYNTAXES.keys()


def test_each_use_has_its_contexts() -> None:
    assert [context.abstract_syntax for context in propose([Use.ECHO]).contexts] == [VERIFICATION]
    assert [context.abstract_syntax for context in propose([Use.MOVE], roots=[Root.STUDY]).contexts] == [
        Root.STUDY.value.move
    ]
    assert propose([Use.FIND]).roles == ()
    assert propose([], others=[Context("1.2", UNCOMPRESSED)]).contexts == (Context("1.2", UNCOMPRESSED),)


@pytest.mark.parametrize(("uses", "scu"), [([Use.GET], False), ([Use.GET, Use.STORE], True)])
def test_whoever_gets_is_scp_and_still_scu_where_it_stores(uses: list[Use], scu: bool) -> None:
    assert propose(uses, storage=[CT]).roles == (RoleSelection(CT, scu, True),)
    assert propose([Use.STORE], storage=[CT]).roles == ()


def test_the_uncompressed_syntaxes_come_with_every_class() -> None:
    for classes, room in (([CT], 128), ([CT, MR], 5), ([CT, MR], 4), ([CT, MR], 2), (COMMON_STORAGE, 120)):
        contexts = storage_contexts(classes, room)
        assert len(contexts) <= room
        for uid in classes:
            proposed = [context.transfer_syntaxes for context in contexts if context.abstract_syntax == uid]
            assert proposed[0][0] == UNCOMPRESSED[0]
            everything = [syntax for group in proposed for syntax in group]
            assert sorted(everything) == sorted((*UNCOMPRESSED, *COMPRESSED))


def test_one_class_has_a_context_for_each_transfer_syntax() -> None:
    groups = [context.transfer_syntaxes for context in storage_contexts([CT], 128)]
    assert groups == [(uid,) for uid in (*UNCOMPRESSED, *COMPRESSED)]


def test_what_does_not_fit_is_left_out() -> None:
    assert len(storage_contexts(storage_sop_classes(), 100)) == 100
    assert storage_contexts([CT], 0) == storage_contexts([CT], -5) == storage_contexts([], 10) == []


def test_every_storage_class_is_offered_at_some_time() -> None:
    groups = [COMMON_STORAGE, *other_storage()]
    offered = [uid for group in groups for uid in group]
    assert len(offered) == len(set(offered))
    assert {*storage_sop_classes(), *PRIVATE_STORAGE_SOP_CLASSES} - set(offered) == {"1.2.840.10008.1.3.10"}
    for group in groups:
        proposed = propose([Use.FIND, Use.GET], roots=[Root.STUDY], storage=group).contexts
        assert set(group) <= {context.abstract_syntax for context in proposed}


def test_extended_negotiation_is_for_the_models_that_are_used() -> None:
    options = QueryOptions(relational=True, timezone=True)
    items = {
        item.sop_class_uid: item.information for item in options.items([Use.FIND, Use.GET], [Root.STUDY])
    }
    assert items == {Root.STUDY.value.find: b"\1\0\0\1", Root.STUDY.value.get: b"\1"}
    assert QueryOptions().items([Use.FIND]) == []
    assert QueryOptions(fuzzy=True).items([Use.MOVE]) == []
