"""Upper layers brought into any state, and two of them linked in memory."""

from __future__ import annotations

from collections.abc import Callable

from dicomwire.upper_layer.codec import encode
from dicomwire.upper_layer.items import ContextResult, MaximumLength, ProposedContext
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
from dicomwire.upper_layer.protocol import Event, Policy, Role, State, TraceStep, UpperLayer

REQUEST = AssociateRq(
    "ARCHIVE",
    "ECHOSCU",
    (ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),),
    (MaximumLength(16384),),
)
ACCEPTANCE = AssociateAc(
    "ARCHIVE", "ECHOSCU", (ContextResult(1, 0, "1.2.840.10008.1.2"),), (MaximumLength(32768),)
)
REJECTION = AssociateRj(1, 1, 7)
VALUE = PresentationDataValue(1, 3, b"command")
DATA = PData((VALUE,))
POLICY = Policy()


def written(end: UpperLayer) -> bytes:
    return b"".join(map(bytes, end.outgoing()))


def in_state(
    state: State,
    role: Role | None = None,
    policy: Policy = POLICY,
    trace: Callable[[TraceStep], None] | None = None,
) -> UpperLayer:
    """An upper layer in `state` at time 0, everything written taken away; the role matters where it may."""
    acceptor_only = {State.STA2, State.STA3, State.STA10, State.STA12}
    if role is None:
        role = Role.ACCEPTOR if state in acceptor_only or state >= State.STA6 else Role.REQUESTOR
    if state in (State.STA9, State.STA11):
        role = Role.REQUESTOR
    end = UpperLayer(role, policy, trace=trace)
    if state is State.STA1:
        return end
    if role is Role.REQUESTOR:
        end.send(REQUEST, 0.0)
        if state is not State.STA4:
            end.connected(0.0)
        if state > State.STA5:
            end.receive(encode(ACCEPTANCE), 0.0)
    else:
        end.connected(0.0)
        if state > State.STA2:
            end.receive(encode(REQUEST), 0.0)
        if state > State.STA3:
            end.send(ACCEPTANCE, 0.0)
    if state in (State.STA7, State.STA9, State.STA10, State.STA11, State.STA12):
        end.send(ReleaseRq(), 0.0)
    if state in (State.STA8, State.STA9, State.STA10, State.STA11, State.STA12):
        end.receive(encode(ReleaseRq()), 0.0)
    if state is State.STA11:
        end.send(ReleaseRp(), 0.0)
    if state is State.STA12:
        end.receive(encode(ReleaseRp()), 0.0)
    if state is State.STA13:
        end.send(Abort(), 0.0)
    assert end.state is state
    end.outgoing()
    return end


def carry(source: UpperLayer, target: UpperLayer, now: float = 0.0) -> list[Event]:
    """Everything that one end wrote, received by the other."""
    return target.receive(written(source), now)


def linked() -> tuple[UpperLayer, UpperLayer]:
    """A requestor and an acceptor with an association between them."""
    requestor, acceptor = UpperLayer(Role.REQUESTOR), UpperLayer(Role.ACCEPTOR)
    requestor.send(REQUEST, 0.0)
    requestor.connected(0.0)
    acceptor.connected(0.0)
    carry(requestor, acceptor)
    acceptor.send(ACCEPTANCE, 0.0)
    carry(acceptor, requestor)
    assert requestor.state is acceptor.state is State.STA6
    return requestor, acceptor
