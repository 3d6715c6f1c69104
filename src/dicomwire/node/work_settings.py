"""Settings of work: jobs, worklist, procedure steps, commitment, availability, routes (`dicomwire.work`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dicomwire.dicom.dictionary import TAGS
from dicomwire.dicom.indexed import INDEXED
from dicomwire.node.section import Section
from dicomwire.node.values import UID, AETitle, HL7CharacterSet, Host, Seconds
from dicomwire.work.ups_rules import OnCancel, Policy


class JobSettings(Section):
    """What is sent, reported and forwarded until it is done (`dicomwire jobs`)."""

    first_retry: Seconds = Field(5.0, description="Seconds behind a first failure; each further one doubles.")
    longest_retry: Seconds = Field(900.0, description="Most seconds between two attempts.")
    give_up: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        7 * 86_400.0, description="Seconds after which a job that fails is a dead letter; 0 is never."
    )
    concurrency: int = Field(2, ge=1, le=64, description="Associations to one destination at once.")


class MPPSSettings(Section):
    """Modality Performed Procedure Steps that come in."""

    forward: tuple[AETitle, ...] = Field((), description="Peers that get every N-CREATE and N-SET again.")
    notify: tuple[AETitle, ...] = Field((), description="Peers that get an N-EVENT-REPORT of each change.")


class WorklistSettings(Section):
    """The Modality Worklist."""

    folder: Path | None = Field(
        None,
        description="Folder whose *.wl files are items, those of a subfolder for whom who calls its name as"
        " AE title (the layout of DCMTK's wlmscpfs).",
    )
    interval: Seconds = Field(2.0, description="Seconds between two looks at the folder.")
    hide: tuple[Literal["IN PROGRESS", "COMPLETED", "DISCONTINUED"], ...] = Field(
        ("IN PROGRESS", "COMPLETED"),
        description="Items leave the worklist when their procedure step (MPPS) has this status.",
    )


class UPSSettings(Section):
    """Unified Procedure Steps."""

    keep: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        90 * 86_400.0,
        description="Seconds that a workitem is kept after its end; one with a Deletion Lock longer.",
    )
    events: bool = Field(
        True, description="Report events to who subscribes; without it nobody can subscribe (C315H)."
    )
    deletion_locks: bool = Field(
        True, description="Grant Deletion Locks; without it subscriptions are without them (B301H)."
    )
    on_cancel: OnCancel = Field(
        OnCancel.REPORT,
        description="What becomes of a request to cancel a workitem in progress: report tells who has"
        " subscribed; contact too, but refuses where nobody has (C312H); refuse always refuses (C313H).",
    )

    def policy(self) -> Policy:
        """What the site allows."""
        return Policy(deletion_locks=self.deletion_locks, events=self.events, on_cancel=self.on_cancel)


class HL7Settings(Section):
    """Orders by HL7 v2 over MLLP (ORM^O01, OMG^O19, OMI^O23) as worklist items."""

    host: Host = Field("127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=0, le=65_535)] | None = Field(
        None, description="Port to listen on; not set, nothing listens."
    )
    stations: dict[str, AETitle] = Field(
        {}, description="Scheduled Station AE Title by modality, for orders that name none."
    )
    character_set: HL7CharacterSet = Field(
        "", description="Character set of messages that name none in MSH-18, as 8859/1; UTF-8 without it."
    )
    reply: Literal["ack", "order"] = Field(
        "ack",
        description="Message type of application acknowledgements: ack is ACK, order is what HL7 has for the"
        " order (ORR, ORG, ORI).",
    )
    idle: Seconds = Field(3_600.0, description="Seconds between two messages of a connection.")
    timeout: Seconds = Field(30.0, description="Seconds for the rest of a message, and for taking an answer.")
    connections: int = Field(64, ge=1, description="Connections at once.")


class CommitmentSettings(Section):
    """Storage Commitment."""

    same_association: bool = Field(
        True,
        description="Report over the association of the request while it is open; false: always a new one.",
    )


class AvailabilitySettings(Section):
    """Instance Availability Notifications of studies that are complete."""

    notify: tuple[AETitle, ...] = Field((), description="Peers that are told.")
    quiet: Seconds = Field(
        60.0, description="Seconds without a new instance after which a study counts as complete."
    )
    wait_for_steps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0,
        description="Seconds that a procedure step (MPPS) of a study has to end before the study counts as"
        " complete; 0 does not wait.",
    )


class RouteSettings(Section):
    """Instances that go on to a peer; all conditions that are set must hold."""

    destination: AETitle = Field(description="AE title of the peer.")
    calling: tuple[AETitle, ...] = Field((), description="AE titles that sent the instances; any without it.")
    called: tuple[AETitle, ...] = Field(
        (), description="Own AE titles that they were sent to; any without it."
    )
    sop_classes: tuple[UID, ...] = Field((), description="SOP classes; any without it.")
    when: dict[str, str] = Field(
        {}, description='Patterns with * and ? by keyword, as in {Modality = "CT", StationName = "CT*"}.'
    )
    commit: bool = Field(
        False,
        description="Ask the peer to commit itself to what it has taken; what it does not is sent again.",
    )

    @model_validator(mode="after")
    def _known(self) -> RouteSettings:
        for keyword in self.when:
            if TAGS.get(keyword) not in INDEXED:
                raise ValueError(
                    f"when names {keyword!r}, which is no keyword of an attribute that is indexed"
                )
        return self
