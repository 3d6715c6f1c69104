"""PDUs in hex with the thing each means beside it; the first ones as DCMTK 3.6.7 puts them on the wire."""

from __future__ import annotations

from dicomwire.upper_layer.items import (
    AsynchronousOperationsWindow,
    ContextResult,
    ImplementationClassUID,
    ImplementationVersionName,
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
    Pdu,
    PresentationDataValue,
    ReleaseRp,
    ReleaseRq,
)

DCMTK = (
    MaximumLength(16384),
    ImplementationClassUID("1.2.276.0.7230010.3.0.3.6.7"),
    ImplementationVersionName("OFFIS_DCMTK_367"),
)

ECHO_RQ = bytes.fromhex(
    "0100000000cd 0001 0000 41524348495645202020202020202020 4543484f534355202020202020202020"
    + "00" * 32
    + "10000015 312e322e3834302e31303030382e332e312e312e31"
    "2000002e 0100ff00 30000011 312e322e3834302e31303030382e312e31"
    "40000011 312e322e3834302e31303030382e312e32"
    "5000003a 51000004 00004000 5200001b 312e322e3237362e302e373233303031302e332e302e332e362e37"
    "5500000f 4f464649535f44434d544b5f333637"
)
ECHO_AC = bytes.fromhex(
    "0200000000b8 0001 0000 41524348495645202020202020202020 4543484f534355202020202020202020"
    + "00" * 32
    + "10000015 312e322e3834302e31303030382e332e312e312e31"
    "21000019 01000000 40000011 312e322e3834302e31303030382e312e32"
    "5000003a 51000004 00004000 5200001b 312e322e3237362e302e373233303031302e332e302e332e362e37"
    "5500000f 4f464649535f44434d544b5f333637"
)

_HEAD = "0001 0000" + b"ANY-SCP         ".hex() + b"STORESCU        ".hex() + "00" * 32


def associate(type: str, items: str) -> bytes:
    body = bytes.fromhex(_HEAD + items)
    return bytes.fromhex(type + "00") + len(body).to_bytes(4, "big") + body


EVERY_USER_ITEM = associate(
    "01",
    "20000014 0300 0000 3000 0003 312e32 4000 0001 31 4000 0000"
    "50000072"
    "51000004 00000000"
    "52000003 312e32"
    "53000004 0000 0005"
    "54000007 0003 312e33 00 01"
    "55000001 41"
    "56000007 0003 312e33 0102"
    "57010016 0003 312e34 0003 312e35 000a 0003 312e36 0003 312e37"
    "58000011 02 01 0005 616c696365 0006 736573616d65"
    "59000003 0001 ff"
    "5a000002 0102"
    "f1070000"
    "7f000001 2a",
)
PADDED = associate("02", "10000004 312e3200 21000009 0100 0000 4000 0001 31 50000009 52000005 312e320000")

P_DATA_TWO_VALUES = bytes.fromhex("04000000000f 00000005 01 03 aabbcc 00000002 ff 00")

EVERY_USER_ITEM_RQ = AssociateRq(
    "ANY-SCP",
    "STORESCU",
    (ProposedContext(3, "1.2", ("1", "")),),
    (
        MaximumLength(0),
        ImplementationClassUID("1.2"),
        AsynchronousOperationsWindow(0, 5),
        RoleSelection("1.3", False, True),
        ImplementationVersionName("A"),
        SOPClassExtendedNegotiation("1.3", b"\1\2"),
        SOPClassCommonExtendedNegotiation("1.4", "1.5", ("1.6", "1.7"), version=1),
        UserIdentityRq(2, True, b"alice", b"sesame"),
        UserIdentityAc(b"\xff"),
        UnknownItem(0x5A, b"\1\2"),
        UnknownItem(0xF1, b"", reserved=7),
    ),
    application_context_name="",
    unknown_items=(UnknownItem(0x7F, b"*"),),
)

# What is on the wire, and what it means; each is also what `encode` writes, but for reserved bytes.
VECTORS: dict[str, tuple[bytes, Pdu]] = {
    "echoscu's request": (
        ECHO_RQ,
        AssociateRq(
            "ARCHIVE",
            "ECHOSCU",
            (ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),),
            DCMTK,
        ),
    ),
    "storescp's acceptance": (
        ECHO_AC,
        AssociateAc("ARCHIVE", "ECHOSCU", (ContextResult(1, 0, "1.2.840.10008.1.2"),), DCMTK),
    ),
    "every user item": (EVERY_USER_ITEM, EVERY_USER_ITEM_RQ),
    "called AE title not recognized": (bytes.fromhex("030000000004 00 01 01 07"), AssociateRj(1, 1, 7)),
    "two values in one PDU": (
        P_DATA_TWO_VALUES,
        PData((PresentationDataValue(1, 3, b"\xaa\xbb\xcc"), PresentationDataValue(255, 0, b""))),
    ),
    "release request": (bytes.fromhex("050000000004 00000000"), ReleaseRq()),
    "release response": (bytes.fromhex("060000000004 00000000"), ReleaseRp()),
    "abort by the user": (bytes.fromhex("070000000004 00 00 00 00"), Abort(0, 0)),
    "abort for an unexpected PDU": (bytes.fromhex("070000000004 00 00 02 02"), Abort(2, 2)),
}
