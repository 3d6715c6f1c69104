"""`dicomwire compare`: what differs between two associations or matrices, and what would happen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomwire.cli.explain import chunks_of
from dicomwire.cli.output import Json, Stop, escaped, show_json
from dicomwire.errors import DecodeError

if TYPE_CHECKING:
    from dicomwire.diagnose.compare import Subject
    from dicomwire.diagnose.conversation import Conversation

OF_ASSOCIATION = "#"  # file#2 is the second association of a capture
What = Annotated[
    str, typer.Argument(help="A capture (FILE or FILE#N), a matrix of `doctor` (.json), or .toml.")
]


def compare(a: What, b: What, *, as_json: Json = False) -> None:
    """Tell what differs between two associations, two matrices, or a request and a configuration ("what if").

    Exit status 0: nothing differs; 1: something does; 2: one cannot be read.
    """
    from dicomwire.diagnose.compare import differences

    settings = [what.endswith(".toml") for what in (a, b)]
    if all(settings):
        raise Stop("two configurations have no request to compare them by", 2)
    one, other = (
        (_what_if(b, a) if settings[0] else _what_if(a, b)) if any(settings) else (_read(a), _read(b))
    )
    found = differences(one, other)
    if as_json:
        rows = [difference.as_json() for difference in found]
        show_json({"a": one.name, "b": other.name, "same": not found, "differences": rows})
    elif not found:
        print(f"{escaped(one.name)} and {escaped(other.name)}: no difference")
    else:
        print(f"a: {escaped(one.name)}\nb: {escaped(other.name)}")
        for difference in found:
            print(f"\n{escaped(difference.what)}\n  a: {escaped(difference.a) or '-'}")
            print(f"  b: {escaped(difference.b) or '-'}")
            if difference.effect:
                print(f"  {escaped(difference.effect)}")
    raise typer.Exit(1 if found else 0)


def _read(what: str) -> Subject:
    from dicomwire.diagnose.compare import of_conversation, of_matrix

    if what.endswith(".json"):
        try:
            facts = json.loads(Path(what).read_text(encoding="utf-8"))
            return of_matrix(what, facts if isinstance(facts, dict) else {})
        except OSError as error:
            raise Stop(f"{what}: {error.strerror}", 2) from None
        except (ValueError, DecodeError) as error:
            raise Stop(f"{what}: no capability matrix: {error}", 2) from None
    name, conversation = _conversation(what)
    return of_conversation(name, conversation)


def _conversation(what: str) -> tuple[str, Conversation]:
    """The association of a capture that is meant: the first one, or that of `#N`."""
    from dicomwire.diagnose.timeline import listen

    file, _, number = what.rpartition(OF_ASSOCIATION) if OF_ASSOCIATION in what else (what, "", "")
    try:
        heard = listen(chunks_of(Path(file)))
    except OSError as error:
        raise Stop(f"{file}: {error.strerror}", 2) from None
    found = [one for one in heard.facts.conversations if one.association_request is not None]
    if number and (not number.isdigit() or not 0 < int(number) <= len(found)):
        raise Stop(f"{file} has {len(found)} associations, none is number {number}", 2)
    if not found:
        raise Stop(f"{file}: {heard.error or 'no association request in it'}", 2)
    place = int(number or 1)
    return f"{file}{OF_ASSOCIATION}{place}", found[place - 1]


def _what_if(capture: str, file: str) -> tuple[Subject, Subject]:
    """A recorded association, and what a node with these settings would have made of its request."""
    from dicomwire.association.admission import Refusal, admit
    from dicomwire.diagnose.compare import of_conversation, of_negotiation
    from dicomwire.node import configuration
    from dicomwire.node.dimse_door import acceptor_options
    from dicomwire.upper_layer.negotiation import negotiate
    from dicomwire.upper_layer.pdu import AssociateRj
    from dicomwire.upper_layer.reasons import reject_words

    name, conversation = _conversation(capture)
    request = conversation.association_request
    if request is None:
        raise Stop(f"{name} has no association request", 2)
    options = acceptor_options(configuration.load(file=Path(file)).settings)
    admission = admit(request, options, host=conversation.connection.client[0], tls=False)
    recorded = of_conversation(name, conversation)
    if isinstance(admission, Refusal):
        rejected = admission.answer
        numbers = f"{rejected.result}/{rejected.source}/{rejected.reason}"
        return recorded, of_negotiation(file, request, (), f"A-ASSOCIATE-RJ {numbers}: {admission.words}")
    negotiation = negotiate(request, admission.policy)
    answer = "A-ASSOCIATE-AC"
    if isinstance(negotiation.answer, AssociateRj):
        rejected = negotiation.answer
        answer = f"A-ASSOCIATE-RJ: {reject_words(rejected.result, rejected.source, rejected.reason)}"
    return recorded, of_negotiation(file, request, negotiation.contexts, answer)
