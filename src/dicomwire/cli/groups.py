"""Options that several commands share: a dataclass whose fields they are, given to a command as one value.

@accepted(where=Where)
def stats(*, where: Where, as_json: Json = False) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter, Signature, signature
from typing import TypeAlias, get_type_hints

Command: TypeAlias = Callable[..., None]


def accepted(**groups: type) -> Callable[[Command], Command]:
    """A command with the fields of these dataclasses in place of the parameters that take them."""

    def decorated(command: Command) -> Command:
        own = signature(command, eval_str=True)
        given = {name: _options(group) for name, group in groups.items()}

        def run(**values: object) -> None:
            made = {
                name: group(**{each.name: values.pop(each.name) for each in given[name]})
                for name, group in groups.items()
            }
            command(**values, **made)

        parameters = [
            each.replace(kind=Parameter.KEYWORD_ONLY)
            for parameter in own.parameters.values()
            for each in given.get(parameter.name, [parameter])
        ]
        run.__doc__ = command.__doc__
        run.__name__ = command.__name__
        run.__dict__["__signature__"] = Signature(parameters)
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorated


def _options(group: type) -> list[Parameter]:
    """The fields of a group as parameters, with their defaults."""
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(each.name, Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])
        for each in fields(group)
    ]
