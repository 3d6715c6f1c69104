"""The Upper Layer state machine as data: states, events, actions, transitions (PS3.8 Tables 9-1 to 9-10).

Nothing is decided here. An action is a next state and a few effects that `protocol` carries out; only AE-6
and AR-8 have two next states, and `protocol` says which.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final, NamedTuple


class State(IntEnum):
    """States (PS3.8 Tables 9-1 to 9-5)."""

    STA1 = 1
    STA2 = 2
    STA3 = 3
    STA4 = 4
    STA5 = 5
    STA6 = 6
    STA7 = 7
    STA8 = 8
    STA9 = 9
    STA10 = 10
    STA11 = 11
    STA12 = 12
    STA13 = 13


STATE_WORDS: Final = {
    State.STA1: "idle",
    State.STA2: "transport connection open, awaiting A-ASSOCIATE-RQ",
    State.STA3: "awaiting the local answer to A-ASSOCIATE",
    State.STA4: "awaiting the transport connection",
    State.STA5: "awaiting A-ASSOCIATE-AC or A-ASSOCIATE-RJ",
    State.STA6: "association established, ready for data transfer",
    State.STA7: "awaiting A-RELEASE-RP",
    State.STA8: "awaiting the local answer to A-RELEASE",
    State.STA9: "release collision, requestor: awaiting the local answer to A-RELEASE",
    State.STA10: "release collision, acceptor: awaiting A-RELEASE-RP",
    State.STA11: "release collision, requestor: awaiting A-RELEASE-RP",
    State.STA12: "release collision, acceptor: awaiting the local answer to A-RELEASE",
    State.STA13: "association over, awaiting the close of the transport connection",
}


class Evt(IntEnum):
    """Events, the rows of Table 9-10."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRMATION = 2
    ASSOCIATE_AC_RECEIVED = 3
    ASSOCIATE_RJ_RECEIVED = 4
    TRANSPORT_INDICATION = 5
    ASSOCIATE_RQ_RECEIVED = 6
    ASSOCIATE_RESPONSE_ACCEPT = 7
    ASSOCIATE_RESPONSE_REJECT = 8
    P_DATA_REQUEST = 9
    P_DATA_RECEIVED = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ_RECEIVED = 12
    RELEASE_RP_RECEIVED = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT_RECEIVED = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


EVENT_WORDS: Final = {
    Evt.ASSOCIATE_REQUEST: "A-ASSOCIATE request",
    Evt.TRANSPORT_CONFIRMATION: "transport connection confirmation",
    Evt.ASSOCIATE_AC_RECEIVED: "A-ASSOCIATE-AC PDU received",
    Evt.ASSOCIATE_RJ_RECEIVED: "A-ASSOCIATE-RJ PDU received",
    Evt.TRANSPORT_INDICATION: "transport connection indication",
    Evt.ASSOCIATE_RQ_RECEIVED: "A-ASSOCIATE-RQ PDU received",
    Evt.ASSOCIATE_RESPONSE_ACCEPT: "A-ASSOCIATE response (accept)",
    Evt.ASSOCIATE_RESPONSE_REJECT: "A-ASSOCIATE response (reject)",
    Evt.P_DATA_REQUEST: "P-DATA request",
    Evt.P_DATA_RECEIVED: "P-DATA-TF PDU received",
    Evt.RELEASE_REQUEST: "A-RELEASE request",
    Evt.RELEASE_RQ_RECEIVED: "A-RELEASE-RQ PDU received",
    Evt.RELEASE_RP_RECEIVED: "A-RELEASE-RP PDU received",
    Evt.RELEASE_RESPONSE: "A-RELEASE response",
    Evt.ABORT_REQUEST: "A-ABORT request",
    Evt.ABORT_RECEIVED: "A-ABORT PDU received",
    Evt.TRANSPORT_CLOSED: "transport connection closed",
    Evt.ARTIM_EXPIRED: "ARTIM timer expired",
    Evt.INVALID_PDU: "unrecognized or invalid PDU received",
}


class Action(Enum):
    """Actions (PS3.8 Tables 9-6 to 9-9); the value is the standard's name."""

    AE_1 = "AE-1"
    AE_2 = "AE-2"
    AE_3 = "AE-3"
    AE_4 = "AE-4"
    AE_5 = "AE-5"
    AE_6 = "AE-6"
    AE_7 = "AE-7"
    AE_8 = "AE-8"
    DT_1 = "DT-1"
    DT_2 = "DT-2"
    AR_1 = "AR-1"
    AR_2 = "AR-2"
    AR_3 = "AR-3"
    AR_4 = "AR-4"
    AR_5 = "AR-5"
    AR_6 = "AR-6"
    AR_7 = "AR-7"
    AR_8 = "AR-8"
    AR_9 = "AR-9"
    AR_10 = "AR-10"
    AA_1 = "AA-1"
    AA_2 = "AA-2"
    AA_3 = "AA-3"
    AA_4 = "AA-4"
    AA_5 = "AA-5"
    AA_6 = "AA-6"
    AA_7 = "AA-7"
    AA_8 = "AA-8"


class Effect(Enum):
    """What an action does beside changing the state; all of them together are these."""

    OPEN = "issue a transport connect request"  # the shell's, who called us for it
    SEND = "send the PDU at hand, or the A-ABORT PDU that the fault calls for"
    INDICATE = "issue the indication or confirmation of what was received"
    START = "start or restart ARTIM"
    STOP = "stop ARTIM"
    CLOSE = "close the transport connection"


class Step(NamedTuple):
    """A row of Tables 9-6 to 9-9.

    Attributes:
        next: the next state, or the first of the two.
        effects: in the order of the table.
        other: the second next state, of AE-6 (request not acceptable) and AR-8 (acceptor).
        other_effects: effects where that one is taken.
    """

    next: State
    effects: tuple[Effect, ...]
    other: State | None = None
    other_effects: tuple[Effect, ...] = ()


_S, _E = State, Effect

ACTIONS: Final = {
    # Table 9-6, association establishment
    Action.AE_1: Step(_S.STA4, (_E.OPEN,)),
    Action.AE_2: Step(_S.STA5, (_E.SEND,)),
    Action.AE_3: Step(_S.STA6, (_E.INDICATE,)),
    Action.AE_4: Step(_S.STA1, (_E.INDICATE, _E.CLOSE)),
    Action.AE_5: Step(_S.STA2, (_E.START,)),
    Action.AE_6: Step(_S.STA3, (_E.STOP, _E.INDICATE), _S.STA13, (_E.STOP, _E.SEND, _E.START)),
    Action.AE_7: Step(_S.STA6, (_E.SEND,)),
    Action.AE_8: Step(_S.STA13, (_E.SEND, _E.START)),
    # Table 9-7, data transfer
    Action.DT_1: Step(_S.STA6, (_E.SEND,)),
    Action.DT_2: Step(_S.STA6, (_E.INDICATE,)),
    # Table 9-8, association release
    Action.AR_1: Step(_S.STA7, (_E.SEND,)),
    Action.AR_2: Step(_S.STA8, (_E.INDICATE,)),
    Action.AR_3: Step(_S.STA1, (_E.INDICATE, _E.CLOSE)),
    Action.AR_4: Step(_S.STA13, (_E.SEND, _E.START)),
    Action.AR_5: Step(_S.STA1, (_E.STOP,)),
    Action.AR_6: Step(_S.STA7, (_E.INDICATE,)),
    Action.AR_7: Step(_S.STA8, (_E.SEND,)),
    Action.AR_8: Step(_S.STA9, (_E.INDICATE,), _S.STA10, (_E.INDICATE,)),
    Action.AR_9: Step(_S.STA11, (_E.SEND,)),
    Action.AR_10: Step(_S.STA12, (_E.INDICATE,)),
    # Table 9-9, association abort
    Action.AA_1: Step(_S.STA13, (_E.SEND, _E.START)),
    Action.AA_2: Step(_S.STA1, (_E.STOP, _E.CLOSE)),
    Action.AA_3: Step(_S.STA1, (_E.INDICATE, _E.CLOSE)),
    Action.AA_4: Step(_S.STA1, (_E.INDICATE,)),
    Action.AA_5: Step(_S.STA1, (_E.STOP,)),
    Action.AA_6: Step(_S.STA13, ()),
    Action.AA_7: Step(_S.STA13, (_E.SEND,)),
    Action.AA_8: Step(_S.STA13, (_E.SEND, _E.INDICATE, _E.START)),
}

# Table 9-10; a dot where the standard leaves the cell blank: that event cannot occur in that state.
TABLE_9_10: Final = """
       Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
Evt1   AE-1  .     .     .     .     .     .     .     .     .     .     .     .
Evt2   .     .     .     AE-2  .     .     .     .     .     .     .     .     .
Evt3   .     AA-1  AA-8  .     AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt4   .     AA-1  AA-8  .     AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt5   AE-5  .     .     .     .     .     .     .     .     .     .     .     .
Evt6   .     AE-6  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
Evt7   .     .     AE-7  .     .     .     .     .     .     .     .     .     .
Evt8   .     .     AE-8  .     .     .     .     .     .     .     .     .     .
Evt9   .     .     .     .     .     DT-1  .     AR-7  .     .     .     .     .
Evt10  .     AA-1  AA-8  .     AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt11  .     .     .     .     .     AR-1  .     .     .     .     .     .     .
Evt12  .     AA-1  AA-8  .     AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt13  .     AA-1  AA-8  .     AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6
Evt14  .     .     .     .     .     .     .     AR-4  AR-9  .     .     AR-4  .
Evt15  .     .     AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  .
Evt16  .     AA-2  AA-3  .     AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2
Evt17  .     AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5
Evt18  .     AA-2  .     .     .     .     .     .     .     .     .     .     AA-2
Evt19  .     AA-1  AA-8  .     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
"""


def _transitions(table: str) -> tuple[tuple[Action | None, ...], ...]:
    """`[event][state]`; row and column 0 are empty, so that the standard's numbers are the indices."""
    _, _, *rows = table.splitlines()
    cells = (row.split()[1:] for row in rows)
    nothing: tuple[Action | None, ...] = (None,) * (len(State) + 1)
    return (nothing, *((None, *(None if c == "." else Action(c) for c in row)) for row in cells))


TRANSITIONS: Final = _transitions(TABLE_9_10)
