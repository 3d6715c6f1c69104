"""Services by called AE title: what the node performs under one title, a gateway performs under another."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping

from dicomwire.association.performer import SOP_CLASS_NOT_SUPPORTED, Request, Service, Services, Sink
from dicomwire.dimse.command import Request as RequestCommand
from dicomwire.uids import name_of


def by_called_ae_title(services: Services, others: Mapping[str, Services]) -> Services:
    """One table for all AE titles.

    Args:
        services: for every AE title that `others` does not name.
        others: tables by AE title.
    """
    if not others:
        return services
    keys = {key for table in (services, *others.values()) for key in table}
    return {key: _dispatching(key, services, others) for key in keys}


def _dispatching(
    key: tuple[str, type[RequestCommand]], services: Services, others: Mapping[str, Services]
) -> Service:
    any_class = ("*", key[1])

    def dispatch(request: Request) -> Sink | Coroutine[None, None, None] | None:
        table = others.get(request.association.called_ae_title, services)
        service = table.get(key) or table.get(any_class)
        if service is not None:
            return service(request)
        name = request.command.name.removesuffix("-RQ")
        request.refuse(
            SOP_CLASS_NOT_SUPPORTED, f"No {name} for {name_of(request.context.abstract_syntax)} here"
        )
        return None

    return dispatch
