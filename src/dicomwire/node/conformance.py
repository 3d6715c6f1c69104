"""What a node conforms to, as facts and as a document, from the tables that it runs on (PS3.2 A, N)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from dicomwire import __version__
from dicomwire.archive.archive import Archive
from dicomwire.archive.transcoder import Transcoder
from dicomwire.association.options import Timeouts
from dicomwire.node.dimse_door import acceptor_options, storage_classes
from dicomwire.node.settings import Settings, TLSSettings
from dicomwire.node.web_door import DICOMWEB, web_options
from dicomwire.services import procedure_step
from dicomwire.services.instance_availability import INSTANCE_AVAILABILITY
from dicomwire.services.models import Root
from dicomwire.services.storage_commitment import STORAGE_COMMITMENT
from dicomwire.uids import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    SOP_CLASSES,
    UNCOMPRESSED_TRANSFER_SYNTAXES,
    VERIFICATION,
    name_of,
)
from dicomwire.upper_layer.negotiation import ANY, AcceptorPolicy, RolePolicy
from dicomwire.web.app import routes
from dicomwire.web.capabilities import described
from dicomwire.work.store import open_store

EXTENSIONS: Final = (
    "relational queries and retrievals",
    "combined date and time matching",
    "fuzzy matching of person names",
    "timezone adjustment",
)
"""What the bytes of sub-item 56H stand for (PS3.4 Tables C.5.1-1, C.5.2-1)."""


@dataclass(frozen=True, slots=True)
class SOPClassFacts:
    """One SOP class of one AE title.

    Attributes:
        scu, scp: our roles; as SCP when others call, as SCU when we do.
        requestor_roles: roles that a requestor may take by sub-item 54H; the default without.
        transfer_syntaxes: name of a set of these.
        extended_negotiation: what sub-item 56H can ask for.
    """

    sop_class_uid: str
    name: str
    service_class: str
    scu: bool
    scp: bool
    requestor_roles: tuple[str, ...]
    transfer_syntaxes: str
    extended_negotiation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EntityFacts:
    """One AE title.

    Attributes:
        transfer_syntaxes: UIDs by the name of their set, in our order.
        refused: words why, by SOP class.
        maximum_length: announced, 0 for any.
        window: operations invoked and performed at once that are agreed to, 0 for any.
        peers: AE titles that are known here, with what is set for each.
    """

    ae_title: str
    sop_classes: tuple[SOPClassFacts, ...]
    transfer_syntaxes: Mapping[str, tuple[str, ...]]
    unregistered_sop_classes: bool
    refused: Mapping[str, str]
    transfer_syntax_policy: str
    on_no_accepted_context: str
    maximum_length: int
    window: tuple[int, int]
    calling_ae_titles: str
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TransactionFacts:
    """One method of one resource of the web door."""

    method: str
    path: str
    name: str
    request: tuple[str, ...]
    response: tuple[str, ...]
    parameters: tuple[str, ...]
    statuses: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Conformance:
    """All of it.

    Attributes:
        timeouts: seconds by name.
        limits: by name.
        user_identity: types of sub-item 58H that are verified.
        tls: of each door, "" for none.
    """

    name: str
    version: str
    implementation_class_uid: str
    implementation_version_name: str
    entities: tuple[EntityFacts, ...]
    called_ae_title: str
    timeouts: Mapping[str, float]
    limits: Mapping[str, int]
    user_identity: tuple[str, ...]
    tls: Mapping[str, str]
    web_base: str
    web: tuple[TransactionFacts, ...]


def conformance(settings: Settings) -> Conformance:
    """What a node of these settings conforms to.

    Raises: ConfigurationError, when the node cannot be as it is configured.
    """
    options = acceptor_options(settings)
    asked = frozenset(_asked(settings))
    timeouts: dict[str, float] = {
        field.name: getattr(options.timeouts, field.name)
        for field in dataclasses.fields(Timeouts)
        if field.name != "progress_bytes"
    }
    limits = {
        name: int(getattr(options.limits, name))
        for name in ("associations", "associations_per_peer", "half_open", "performed")
    }
    entities = []
    for entity in options.entities:
        calling, peers = entity.calling.value, tuple(sorted(entity.peers))
        entities.append(_entity(entity.ae_title, entity.policy, asked, calling, peers))
    return Conformance(
        name="dicomwire",
        version=__version__,
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        entities=tuple(entities),
        called_ae_title=settings.dimse.called_ae_title,
        timeouts=timeouts,
        limits=limits,
        user_identity=tuple(_identities(settings)),
        tls={"dimse": _tls(settings.dimse.tls), "web": _tls(settings.web.tls)},
        web_base=DICOMWEB,
        web=tuple(_transactions(settings)),
    )


def _asked(settings: Settings) -> Iterator[str]:
    """SOP classes that we are SCU of: by the command line, the library and the node's own jobs."""
    yield VERIFICATION
    yield from storage_classes(settings.dimse)
    for root in Root:
        yield from (uid for uid in (root.value.find, root.value.move, root.value.get) if uid)
    yield from (STORAGE_COMMITMENT, *procedure_step.SCP_CLASSES, INSTANCE_AVAILABILITY)


def _entity(
    ae_title: str, policy: AcceptorPolicy, asked: frozenset[str], calling: str, peers: tuple[str, ...]
) -> EntityFacts:
    sets: dict[tuple[str, ...], str] = {}
    classes = []
    for uid in (*policy.supported, *sorted(asked.difference(policy.supported))):
        if uid in policy.refused and uid not in asked:
            continue
        syntaxes = policy.supported.get(uid, UNCOMPRESSED_TRANSFER_SYNTAXES)
        row = SOP_CLASSES.get(uid)
        classes.append(
            SOPClassFacts(
                uid,
                name_of(uid),
                row.service_class if row is not None else "Storage, private",
                scu=uid in asked,
                scp=uid in policy.supported and uid not in policy.refused,
                requestor_roles=_roles(policy.roles.get(uid) or policy.roles.get(ANY)),
                transfer_syntaxes=sets.setdefault(syntaxes, f"set {len(sets) + 1}"),
                extended_negotiation=_extensions(policy, uid),
            )
        )
    window = policy.asynchronous_operations_window
    return EntityFacts(
        ae_title=ae_title,
        sop_classes=tuple(classes),
        transfer_syntaxes={name: syntaxes for syntaxes, name in sets.items()},
        unregistered_sop_classes=bool(policy.unregistered),
        refused=policy.refused,
        transfer_syntax_policy=policy.transfer_syntax_policy,
        on_no_accepted_context=policy.on_no_accepted_context,
        maximum_length=policy.maximum_length,
        window=(window.invoked, window.performed) if window is not None else (1, 1),
        calling_ae_titles=calling,
        peers=peers,
    )


def _roles(role: RolePolicy | None) -> tuple[str, ...]:
    if role is None:
        return ("SCU",)
    return tuple(name for name, may in (("SCU", role.scu), ("SCP", role.scp)) if may)


def _extensions(policy: AcceptorPolicy, uid: str) -> tuple[str, ...]:
    """What is answered to an item 56H that asks for everything."""
    answer = policy.extended_negotiation.get(uid)
    agreed = answer(bytes([1] * len(EXTENSIONS))) if answer is not None else None
    return tuple(words for words, byte in zip(EXTENSIONS, agreed or b"", strict=False) if byte)


def _identities(settings: Settings) -> Iterator[str]:
    if settings.identity.users:
        yield "1 Username"
        yield "2 Username and passcode"
    if settings.identity.jwt.enabled:
        yield "5 JSON Web Token"


def _tls(tls: TLSSettings) -> str:
    if not tls.enabled:
        return ""
    return f"TLS {tls.minimum_version} or newer{', client certificates' if tls.client_ca else ''}"


def _transactions(settings: Settings) -> Iterator[TransactionFacts]:
    """The route table of the web door, which needs an archive to be made: an empty one."""
    with TemporaryDirectory() as folder:
        archive = Archive.open(Path(folder))
        work = open_store(Path(folder))
        try:
            table = routes(archive, web_options(settings), Transcoder(archive), work)
            resources = {path: resource.methods for path, resource in table.items()}
        finally:
            work.close()
            archive.close()
    for path, methods in described(resources):
        for method, transaction in methods:
            yield TransactionFacts(
                method,
                f"/{path}",
                transaction.name,
                transaction.takes,
                transaction.gives,
                transaction.parameters,
                transaction.statuses,
            )


# As a document


def markdown(facts: Conformance) -> str:
    """The facts as a conformance statement in Markdown."""
    return "\n".join(_lines(facts)) + "\n"


def _lines(facts: Conformance) -> Iterator[str]:
    yield f"# DICOM conformance of {facts.name} {facts.version}"
    yield ""
    yield from _table(
        ("", ""),
        [
            ("Implementation Class UID", facts.implementation_class_uid),
            ("Implementation Version Name", facts.implementation_version_name),
            ("Called AE title", "ours only" if facts.called_ae_title == "own" else "any"),
            ("User identity", ", ".join(facts.user_identity) or "not verified"),
            ("DIMSE", facts.tls["dimse"] or "without TLS"),
            ("DICOMweb", facts.tls["web"] or "without TLS"),
        ],
    )
    for entity in facts.entities:
        yield from _entity_lines(entity)
    yield from ("", "## Timeouts", "")
    yield from _table(("what", "seconds"), [(name, f"{value:g}") for name, value in facts.timeouts.items()])
    yield from ("", "## Limits", "")
    yield from _table(("what", "at most"), [(name, str(value)) for name, value in facts.limits.items()])
    yield from ("", f"## DICOMweb under {facts.web_base}", "")
    head = ("method", "resource", "transaction", "request", "response", "parameters", "success")
    yield from _table(
        head,
        (
            (
                each.method,
                f"`{each.path}`",
                each.name,
                ", ".join(each.request),
                ", ".join(each.response),
                ", ".join(each.parameters),
                ", ".join(map(str, each.statuses)),
            )
            for each in facts.web
        ),
    )


def _entity_lines(entity: EntityFacts) -> Iterator[str]:
    yield from ("", f"## AE title {entity.ae_title}", "")
    proposed = entity.transfer_syntax_policy == "as_proposed"
    yield from _table(
        ("", ""),
        [
            ("Calling AE titles", f"{entity.calling_ae_titles}: {', '.join(entity.peers) or 'none known'}"),
            ("Transfer syntax of a context", "the requestor's first" if proposed else "our first"),
            ("No context accepted", entity.on_no_accepted_context),
            ("Maximum length announced", str(entity.maximum_length or "unlimited")),
            ("Operations at once", f"{entity.window[0]} invoked, {entity.window[1]} performed (0: any)"),
            ("SOP classes not in the registry", "stored" if entity.unregistered_sop_classes else "refused"),
        ],
    )
    yield from ("", "### SOP classes", "")
    head = (
        *("name", "UID", "service class", "SCU", "SCP"),
        *("roles of a requestor", "transfer syntaxes", "extended negotiation"),
    )
    yield from _table(
        head,
        (
            (
                each.name,
                each.sop_class_uid,
                each.service_class,
                "yes" if each.scu else "no",
                "yes" if each.scp else "no",
                ", ".join(each.requestor_roles),
                each.transfer_syntaxes,
                ", ".join(each.extended_negotiation),
            )
            for each in entity.sop_classes
        ),
    )
    if entity.refused:
        yield from ("", "### Refused SOP classes", "")
        rows = ((name_of(uid), uid, why) for uid, why in entity.refused.items())
        yield from _table(("name", "UID", "why"), rows)
    for name, syntaxes in entity.transfer_syntaxes.items():
        yield from ("", f"### Transfer syntaxes, {name}", "")
        yield from _table(("name", "UID"), ((name_of(uid), uid) for uid in syntaxes))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
