"""The table of messages."""

from __future__ import annotations

import dataclasses

import pytest

from dicomwire.dimse.command import COMMANDS, RESPONSE, Command, Request, Response, response


@pytest.mark.parametrize("message", COMMANDS.values(), ids=lambda message: message.name)
def test_default_of_data_set_is_what_the_message_always_has(message: type[Command]) -> None:
    default = next(field.default for field in dataclasses.fields(message) if field.name == "data_set")
    assert default is bool(message.carries)


REQUESTS = [message for message in COMMANDS.values() if issubclass(message, Request)]


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: message.name)
def test_response_answers_the_message_id_with_the_response_field(message: type[Request]) -> None:
    needed = [field for field in dataclasses.fields(message) if field.default is dataclasses.MISSING]
    request = message(**{field.name: 7 if field.type == "int" else "1.2" for field in needed})
    answer = response(request, 0x0110, "why")
    assert isinstance(answer, Response)
    assert answer.command_field == message.command_field | RESPONSE
    assert (answer.message_id_being_responded_to, answer.status, answer.error_comment) == (7, 0x0110, "why")
