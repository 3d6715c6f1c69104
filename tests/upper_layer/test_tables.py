"""Tables 9-6 to 9-10 against a second writing of them, made from the standard's text."""

from __future__ import annotations

import pytest

from dicomwire.upper_layer.tables import (
    ACTIONS,
    EVENT_WORDS,
    STATE_WORDS,
    TRANSITIONS,
    Action,
    Effect,
    Evt,
    State,
)

ASSOCIATED = range(6, 13)  # Sta6 to Sta12: there is, or was until the release began, an association


def expected() -> dict[tuple[int, int], str]:
    """The 123 filled cells."""
    cells: dict[tuple[int, int], str] = {(1, 1): "AE-1", (2, 4): "AE-2", (5, 1): "AE-5"}
    # A PDU of any kind: abort while waiting for a request, abort with indication where it is out of place,
    # ignore after the end.
    for event in (3, 4, 6, 10, 12, 13, 19):
        cells[event, 2] = "AA-1"
        for state in (3, 5, *ASSOCIATED):
            cells[event, state] = "AA-8"
        cells[event, 13] = "AA-7" if event in (6, 19) else "AA-6"
    # ... and where it is in place.
    cells[6, 2] = "AE-6"
    cells[3, 5] = "AE-3"
    cells[4, 5] = "AE-4"
    cells[10, 6] = "DT-2"
    cells[10, 7] = "AR-6"
    cells[12, 6] = "AR-2"
    cells[12, 7] = "AR-8"
    cells[13, 7] = "AR-3"
    cells[13, 10] = "AR-10"
    cells[13, 11] = "AR-3"
    # The local user.
    cells[7, 3] = "AE-7"
    cells[8, 3] = "AE-8"
    cells[9, 6] = "DT-1"
    cells[9, 8] = "AR-7"
    cells[11, 6] = "AR-1"
    cells[14, 8] = "AR-4"
    cells[14, 9] = "AR-9"
    cells[14, 12] = "AR-4"
    for state in (3, 5, *ASSOCIATED):
        cells[15, state] = "AA-1"
    cells[15, 4] = "AA-2"
    # A-ABORT received, transport closed, ARTIM expired.
    for state in (3, 5, *ASSOCIATED):
        cells[16, state] = "AA-3"
        cells[17, state] = "AA-4"
    cells[16, 2] = cells[16, 13] = "AA-2"
    cells[17, 4] = "AA-4"
    cells[17, 2] = "AA-5"
    cells[17, 13] = "AR-5"
    cells[18, 2] = cells[18, 13] = "AA-2"
    return cells


NEXT = {
    "AE-1": (4,), "AE-2": (5,), "AE-3": (6,), "AE-4": (1,), "AE-5": (2,), "AE-6": (3, 13), "AE-7": (6,),
    "AE-8": (13,), "DT-1": (6,), "DT-2": (6,), "AR-1": (7,), "AR-2": (8,), "AR-3": (1,), "AR-4": (13,),
    "AR-5": (1,), "AR-6": (7,), "AR-7": (8,), "AR-8": (9, 10), "AR-9": (11,), "AR-10": (12,), "AA-1": (13,),
    "AA-2": (1,), "AA-3": (1,), "AA-4": (1,), "AA-5": (1,), "AA-6": (13,), "AA-7": (13,), "AA-8": (13,),
}  # fmt: skip

SENDS = {"AE-2", "AE-7", "AE-8", "DT-1", "AR-1", "AR-4", "AR-7", "AR-9", "AA-1", "AA-7", "AA-8"}
INDICATES = {"AE-3", "AE-4", "AE-6", "DT-2", "AR-2", "AR-3", "AR-6", "AR-8", "AR-10", "AA-3", "AA-4", "AA-8"}
STARTS = {"AE-5", "AE-8", "AR-4", "AA-1", "AA-8"}
STOPS = {"AE-6", "AR-5", "AA-2", "AA-5"}
CLOSES = {"AE-4", "AR-3", "AA-2", "AA-3"}


@pytest.mark.parametrize("event", Evt, ids=lambda event: f"Evt{int(event)}")
@pytest.mark.parametrize("state", State, ids=lambda state: f"Sta{int(state)}")
def test_cell_is_the_standards(event: Evt, state: State) -> None:
    action = TRANSITIONS[event][state]
    assert (action and action.value) == expected().get((event, state))


def test_table_has_123_filled_cells() -> None:
    assert len(expected()) == 123
    assert sum(action is not None for row in TRANSITIONS for action in row) == 123


@pytest.mark.parametrize("action", Action, ids=lambda action: action.value)
def test_action_leads_on_and_does_what_the_standard_says(action: Action) -> None:
    step, name = ACTIONS[action], action.value
    assert (step.next, *([step.other] if step.other else [])) == NEXT[name]
    assert (Effect.SEND in step.effects) == (name in SENDS)
    assert (Effect.INDICATE in step.effects) == (name in INDICATES)
    assert (Effect.START in step.effects) == (name in STARTS)
    assert (Effect.STOP in step.effects) == (name in STOPS)
    assert (Effect.CLOSE in step.effects) == (name in CLOSES)
    assert (Effect.OPEN in step.effects) == (name == "AE-1")


def test_request_that_the_provider_refuses_is_rejected_and_timed() -> None:
    assert ACTIONS[Action.AE_6].other_effects == (Effect.STOP, Effect.SEND, Effect.START)


def test_every_state_and_event_has_words() -> None:
    assert STATE_WORDS.keys() == set(State)
    assert EVENT_WORDS.keys() == set(Evt)
    assert len(TRANSITIONS) == len(Evt) + 1
    assert {len(row) for row in TRANSITIONS} == {len(State) + 1}
