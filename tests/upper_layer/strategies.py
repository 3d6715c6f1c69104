"""Hypothesis strategies for PDUs that fit their fields."""

from __future__ import annotations

from hypothesis import strategies as st

from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ContextResult,
    ImplementationClassUID,
    ImplementationVersionName,
    ItemType,
    MaximumLength,
    ProposedContext,
    RoleSelection,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UnknownItem,
    UserIdentityAc,
    UserIdentityRq,
)
from dicomwire.upper_layer.pdu import (
    Abort,
    AssociateAc,
    AssociateRj,
    AssociateRq,
    PData,
    PresentationDataValue,
    ReleaseRp,
    ReleaseRq,
)

byte = st.integers(0, 255)
uids = st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,5}){0,4}", fullmatch=True)
ae_titles = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=16)
blobs = st.binary(max_size=20)


def unknown(*known: int) -> st.SearchStrategy[UnknownItem]:
    return st.builds(UnknownItem, byte.filter(lambda type: type not in known), blobs, byte)


user_items = st.one_of(
    st.builds(MaximumLength, st.integers(0, 2**32 - 1)),
    st.builds(ImplementationClassUID, uids),
    st.builds(AsynchronousOperationsWindow, st.integers(0, 65535), st.integers(0, 65535)),
    st.builds(RoleSelection, uids, st.booleans(), st.booleans()),
    st.builds(ImplementationVersionName, ae_titles),
    st.builds(SOPClassExtendedNegotiation, uids, blobs),
    st.builds(
        SOPClassCommonExtendedNegotiation,
        uids,
        uids,
        st.lists(uids, max_size=3).map(tuple),
        version=byte,
        reserved=blobs,
    ),
    st.builds(UserIdentityRq, byte, st.booleans(), blobs, blobs),
    st.builds(UserIdentityAc, blobs),
    unknown(*range(ItemType.MAXIMUM_LENGTH, ItemType.USER_IDENTITY_AC + 1)),
)
_associate = {
    "called_ae_title": ae_titles,
    "calling_ae_title": ae_titles,
    "user_information": st.lists(user_items, max_size=6).map(tuple),
    "application_context_name": st.one_of(st.just("1.2.840.10008.3.1.1.1"), uids, st.just("")),
    "protocol_version": st.integers(0, 65535),
}
requests = st.builds(
    AssociateRq,
    presentation_contexts=st.lists(
        st.builds(
            ProposedContext,
            byte,
            st.one_of(uids, st.just("")),
            st.lists(uids, max_size=3).map(tuple),
            st.lists(unknown(0x30, 0x40), max_size=2).map(tuple),
        ),
        max_size=5,
    ).map(tuple),
    unknown_items=st.lists(unknown(0x10, 0x20, 0x50), max_size=2).map(tuple),
    **_associate,
)
answers = st.builds(
    AssociateAc,
    presentation_contexts=st.lists(
        st.builds(
            ContextResult,
            byte,
            byte,
            st.one_of(uids, st.just("")),
            st.lists(unknown(0x40), max_size=2).map(tuple),
        ),
        max_size=5,
    ).map(tuple),
    unknown_items=st.lists(unknown(0x10, 0x21, 0x50), max_size=2).map(tuple),
    **_associate,
)
values = st.builds(PresentationDataValue, byte, byte, st.binary(max_size=40))
p_data = st.builds(PData, st.lists(values, min_size=1, max_size=4).map(tuple))
pdus = st.one_of(
    requests,
    answers,
    p_data,
    st.builds(AssociateRj, byte, byte, byte),
    st.builds(ReleaseRq),
    st.builds(ReleaseRp),
    st.builds(Abort, byte, byte),
)
