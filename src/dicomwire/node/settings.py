"""Every setting of a node: names, units, ranges and defaults, and nothing that acts on them.

Sections are tables of `dicomwire.toml`, `DICOMWIRE_SECTION__KEY` in the environment, and flags of `serve`.
An unknown key is an error everywhere. Each layer has its own options, made of these by other
modules of `node`.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dicomwire.node.identity_settings import IdentitySettings
from dicomwire.node.section import OPERATIONS, Operation, Section, unique
from dicomwire.node.values import (
    UID,
    AETitle,
    CharacterSet,
    Host,
    MaximumLength,
    Origin,
    PeerPort,
    Port,
    Seconds,
    Size,
    UIDOrAny,
    one_of,
)
from dicomwire.node.work_settings import (
    AvailabilitySettings,
    CommitmentSettings,
    HL7Settings,
    JobSettings,
    MPPSSettings,
    RouteSettings,
    UPSSettings,
    WorklistSettings,
)

ENVIRONMENT_PREFIX = "DICOMWIRE_"
NESTED = "__"


class TLSSettings(Section):
    """TLS of a listening door (PS3.15 B)."""

    certificate: Path | None = Field(
        None, description="PEM file with our certificate and its chain; set, the door speaks TLS only."
    )
    key: Path | None = Field(None, description="PEM file with the private key of the certificate.")
    key_password: SecretStr | None = Field(None, description="Password of the private key.")
    client_ca: Path | None = Field(
        None, description="PEM file of CAs; set, a client must show a certificate they signed."
    )
    minimum_version: Literal["1.2", "1.3"] = Field("1.2", description="Lowest TLS version taken.")

    @property
    def enabled(self) -> bool:
        return self.certificate is not None

    @model_validator(mode="after")
    def _complete(self) -> TLSSettings:
        if self.certificate is None and (self.key or self.client_ca):
            raise ValueError("TLS needs a certificate: set 'certificate' too")
        return self


class PeerTLSSettings(Section):
    """TLS towards one peer."""

    enabled: bool = Field(True, description="Open a TLS connection to this peer.")
    ca: Path | None = Field(
        None, description="PEM file of CAs that sign the peer's certificate; the system's without it."
    )
    certificate: Path | None = Field(None, description="PEM file with the certificate that we show.")
    key: Path | None = Field(None, description="PEM file with its private key.")
    key_password: SecretStr | None = Field(None, description="Password of the private key.")
    server_name: str | None = Field(
        None, description="Name the peer's certificate must carry, when not its host."
    )
    verify: bool = Field(True, description="Verify the peer's certificate.")


class TimeoutSettings(Section):
    """How long this node waits for a peer, in seconds."""

    connect: Seconds = Field(10.0, description="For a TCP connection to a peer.")
    tls: Seconds = Field(10.0, description="For a TLS handshake, either way.")
    artim: Seconds = Field(
        30.0, description="For the whole association request, and for the close after a release or abort."
    )
    dimse: Seconds = Field(60.0, description="For the next response or fragment of a message.")
    idle: Seconds = Field(300.0, description="Between messages on an open association.")
    release: Seconds = Field(30.0, description="For the answer to our release request.")
    write: Seconds = Field(60.0, description="For a peer that takes nothing of what waits to be sent.")
    progress: Seconds = Field(
        30.0, description="How often a message under way is looked at: limits.progress bytes must have come."
    )


class PeerTimeoutSettings(Section):
    """Timeouts of one peer; what is not set is as for every peer."""

    connect: Seconds | None = None
    tls: Seconds | None = None
    artim: Seconds | None = None
    dimse: Seconds | None = None
    idle: Seconds | None = None
    release: Seconds | None = None
    write: Seconds | None = None
    progress: Seconds | None = None


class LimitSettings(Section):
    """What a peer can cost at most."""

    associations: int = Field(2_000, ge=1, description="Open associations in all; above it RJ 2/3/2.")
    associations_per_peer: int = Field(
        0, ge=0, description="Open associations per peer address; 0 is no limit."
    )
    half_open: int = Field(512, ge=1, description="Connections that have not yet asked for an association.")
    pdu: Size = Field(1 << 20, ge=1 << 12, description="Bytes of a PDU other than P-DATA-TF.")
    recorded: int = Field(
        200, ge=0, le=10_000, description="Associations whose PDUs are kept, data sets cut; 0 for none."
    )
    progress: Size = Field(
        1_024, description="Bytes that a message under way must bring in each timeouts.progress."
    )


class WindowSettings(Section):
    """Asynchronous operations window (PS3.7 D.3.3.3); 0 is unlimited."""

    invoked: int = Field(1, ge=0, le=65_535, description="Operations we may have outstanding at a peer.")
    performed: int = Field(8, ge=0, le=65_535, description="Operations a peer may have outstanding here.")


class NodeSettings(Section):
    """What the node is."""

    ae_title: AETitle = Field("DICOMWIRE", description="AE title of this node.")
    data: Path = Field(Path("dicomwire-data"), description="Data folder; made when missing.")
    open: bool = Field(False, description="Serve a public address although nothing says who may use it.")
    workers: int = Field(1, ge=1, description="Processes.")
    grace: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        10.0, description="Seconds that open associations have to finish when the node stops."
    )
    event_loop: Literal["auto", "uvloop", "asyncio"] = Field(
        "auto", description="auto: uvloop on Linux, asyncio elsewhere."
    )


class LogSettings(Section):
    """What the node says on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level shown.")
    format: Literal["human", "json"] = Field(
        "human", description="Lines for people, or one JSON object a line."
    )


class DimseSettings(Section):
    """The DIMSE door."""

    host: Host = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(11112, description="Port to listen on; 0 takes a free one.")
    called_ae_title: Literal["off", "own"] = Field(
        "off", description="own: refuse associations that call another AE title than ours."
    )
    calling_ae_title: Literal["auto", "off", "list"] = Field(
        "auto",
        description="list: refuse AE titles that are no [[peers]]; auto: list, but off on loopback, and off "
        "with --open where no peers are named.",
    )
    on_no_accepted_context: Literal["reject", "accept"] = Field(
        "reject", description="Answer when no presentation context can be accepted."
    )
    transfer_syntax_policy: Literal["as_proposed", "preferred"] = Field(
        "as_proposed", description="Whose order decides between transfer syntaxes."
    )
    preferred_transfer_syntaxes: tuple[UID, ...] = Field(
        (), description="Our order, with transfer_syntax_policy = preferred."
    )
    extra_sop_classes: tuple[UIDOrAny, ...] = Field(
        (), description="SOP classes to store beside those of the registry."
    )
    refused_sop_classes: tuple[UID, ...] = Field((), description="SOP classes refused by policy (result 1).")
    maximum_length: MaximumLength = Field(
        262_144, description="Maximum length announced, in bytes; 0 is unlimited."
    )
    proxy_protocol: bool = Field(
        False, description="Every connection begins with a PROXY header of a load balancer."
    )
    backlog: int = Field(
        1_024, ge=1, le=65_535, description="Connections the system holds before they are accepted."
    )
    asynchronous_operations: WindowSettings = WindowSettings()
    tls: TLSSettings = TLSSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()

    @model_validator(mode="after")
    def _length(self) -> DimseSettings:
        if 0 < self.maximum_length < 4096:
            raise ValueError("maximum_length must be 0 (unlimited) or at least 4096 bytes (PS3.8 D.1)")
        return self


class WebSettings(Section):
    """The HTTP door."""

    host: Host = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="Port to listen on; 0 takes a free one.")
    public_url: Annotated[str, AfterValidator(one_of("http://", "https://"))] | None = Field(
        None, description="URL that clients use, when a proxy stands before the node."
    )
    trust_forwarded: bool = Field(
        False, description="Take X-Forwarded-Proto, -Host and -Prefix of a proxy into account."
    )
    cors_origins: tuple[Origin, ...] = Field(
        (), description="Origins whose pages may use the node, as https://HOST[:PORT]; none by default."
    )
    delete: bool = Field(False, description="Let DICOMweb clients delete.")
    idle: Seconds = Field(75.0, description="Seconds an idle keep-alive connection stays open.")
    connections: int = Field(2_000, ge=1, description="Open HTTP connections; above it 503.")
    maximum_body: Size = Field(0, description="Bytes of one store request; 0 is no limit.")
    maximum_results: int = Field(1_000, ge=1, description="Results of one search page at most.")
    tls: TLSSettings = TLSSettings()


class ArchiveSettings(Section):
    """Where instances are kept."""

    catalogue: Annotated[str, AfterValidator(one_of("sqlite", "postgresql://"))] = Field(
        "sqlite", description="sqlite, or postgresql://user@host/db."
    )
    segments: Annotated[str, AfterValidator(one_of("files", "s3://"))] = Field(
        "files", description="files, or s3://bucket/prefix."
    )
    duplicates: Literal["keep", "replace", "reject"] = Field(
        "keep",
        description="Same SOP instance UID, other content: keep both, the second as a conflict version; "
        "replace the first; reject the second.",
    )
    preamble: Literal["zero", "keep"] = Field(
        "zero",
        description="keep: a file that is a TIFF as well, and comes by STOW-RS or import, keeps its "
        "preamble and meta information.",
    )
    writer: Literal["process", "thread"] = Field(
        "process",
        description="What scans, writes and indexes what has arrived: a process of its own, so that "
        "receiving has a processor for itself; or a thread, which takes 40 MB less memory.",
    )
    segment_size: Size = Field(1 << 30, ge=1 << 20, description="Bytes of one segment file.")
    memory: Size = Field(
        32 << 20, ge=1 << 20, description="Bytes of instances under way, in all; beyond it reading pauses."
    )
    free_space: Size = Field(256 << 20, description="Bytes of disk kept free for the catalogue.")
    compact_every: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        3600.0, description="Seconds between two looks for segments to compact; 0 is never."
    )
    compact_waste: float = Field(
        0.3, gt=0, le=1, description="Share of a segment that has to be dead before it is compacted."
    )
    depth_limit: int = Field(64, ge=1, le=512, description="Nesting of sequences in a data set.")
    inflate_limit: Size = Field(
        64 << 20, description="Bytes that a deflated data set may inflate to before its pixel data."
    )


class PixelSettings(Section):
    """The worker processes that decode, encode and render images."""

    workers: int = Field(
        0, ge=0, le=64, description="Processes at most, started when needed; 0: by the processors."
    )
    memory: Size = Field(2 << 30, ge=256 << 20, description="Bytes that one of them may allocate.")
    together: Size = Field(
        64 << 20,
        ge=1 << 20,
        description="Bytes that large images may take in all of them at once; a larger one waits.",
    )
    processor_time: int = Field(30, ge=1, le=3600, description="Seconds of processor time for one frame.")
    timeout: Seconds = Field(120.0, description="Without an answer or a sign of progress.")
    waiting: int = Field(1_000, ge=1, description="Images that may wait for a worker; beyond it 503.")


class AETitleSettings(Section):
    """One more AE title of this node, with its own rules; what is not set is as in [dimse]."""

    ae_title: AETitle = Field(description="The AE title.")
    peers: tuple[AETitle, ...] | None = Field(
        None, description="AE titles that may call it; every one that may call the node without it."
    )
    allow: tuple[Operation, ...] = Field(OPERATIONS, description="What may be done under this title.")
    on_no_accepted_context: Literal["reject", "accept"] | None = None
    transfer_syntax_policy: Literal["as_proposed", "preferred"] | None = None
    preferred_transfer_syntaxes: tuple[UID, ...] | None = None
    extra_sop_classes: tuple[UIDOrAny, ...] | None = None
    refused_sop_classes: tuple[UID, ...] | None = None
    maximum_length: MaximumLength | None = None


class PeerSettings(Section):
    """A device we know: where it listens and what it may do here."""

    ae_title: AETitle = Field(description="Its AE title.")
    host: Host | None = Field(None, description="Where it listens; without it nothing can be sent there.")
    port: PeerPort | None = Field(None, description="Port it listens on.")
    allow: tuple[Operation, ...] = Field(OPERATIONS, description="What it may do here.")
    addresses: tuple[str, ...] = Field((), description="IP addresses it may come from; any without it.")
    transfer_syntaxes: tuple[UID, ...] | None = Field(
        None, description="The only transfer syntaxes it gets along with."
    )
    character_set: CharacterSet | None = Field(
        None, description="Specific Character Set of its queries where they name none."
    )
    maximum_length: MaximumLength | None = Field(
        None, description="Maximum length announced to it, in bytes."
    )
    asynchronous_operations: WindowSettings | None = Field(
        None, description="Window proposed to it; none without it."
    )
    associations: int = Field(0, ge=0, description="Associations it may have open here; 0 is no limit.")
    require_tls: bool = Field(False, description="It may come over TLS only.")
    tls: PeerTLSSettings | None = Field(None, description="TLS towards it.")
    timeouts: PeerTimeoutSettings = PeerTimeoutSettings()
    user: str | None = Field(None, description="User name we log in with.")
    password: SecretStr | None = Field(None, description="Password we log in with.")

    @model_validator(mode="after")
    def _reachable(self) -> PeerSettings:
        if (self.host is None) != (self.port is None):
            raise ValueError("host and port belong together")
        for address in self.addresses:
            ipaddress.ip_address(address)
        return self


class GatewaySettings(Section):
    """DICOMweb in front of a DIMSE archive (`peer`), or DIMSE in front of a DICOMweb service (`url`)."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = Field(
        description="Its name: DICOMweb is served at /dicom-web/gateways/NAME, the cache is in "
        "gateways/NAME of the data folder."
    )
    peer: AETitle | None = Field(None, description="AE title of the archive, one of [[peers]].")
    retrieve: Literal["get", "move"] = Field(
        "get", description="How instances are brought from the peer: C-GET, or C-MOVE to `ae_title`."
    )
    url: Annotated[str, AfterValidator(one_of("http://", "https://"))] | None = Field(
        None, description="Base of the DICOMweb service, as in https://host/dicom-web."
    )
    ae_title: AETitle | None = Field(
        None,
        description="One more AE title of this node: that of the service, or that to which the peer moves.",
    )
    token_file: Path | None = Field(
        None, description="File with the bearer token for the service; read anew for each request."
    )
    user: str | None = Field(None, description="User name for the service (HTTP Basic).")
    password_file: Path | None = Field(None, description="File with the user's password.")
    tls: PeerTLSSettings = PeerTLSSettings()
    size: Size = Field(10 << 30, description="Bytes of the cache, beyond which unused studies go.")
    fresh: Seconds = Field(
        60.0, description="Seconds for which what was brought is not compared with the remote archive."
    )
    timeout: Seconds = Field(600.0, description="Seconds for bringing one study or series.")
    fetches: int = Field(4, ge=1, le=64, description="Studies that are brought at once.")

    @model_validator(mode="after")
    def _possible(self) -> GatewaySettings:
        if (self.peer is None) == (self.url is None):
            raise ValueError("a gateway has either a peer or a url")
        if self.ae_title is None and self.url is not None:
            raise ValueError("a gateway to a url needs an ae_title, under which it is called")
        if self.ae_title is None and self.retrieve == "move":
            raise ValueError('retrieve = "move" needs an ae_title, to which the peer moves')
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file belong together")
        return self


class Settings(BaseSettings):
    """The settings of a node, whole."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter=NESTED,
    )

    node: NodeSettings = NodeSettings()
    log: LogSettings = LogSettings()
    dimse: DimseSettings = DimseSettings()
    web: WebSettings = WebSettings()
    archive: ArchiveSettings = ArchiveSettings()
    pixels: PixelSettings = PixelSettings()
    identity: IdentitySettings = IdentitySettings()
    jobs: JobSettings = JobSettings()
    mpps: MPPSSettings = MPPSSettings()
    commitment: CommitmentSettings = CommitmentSettings()
    worklist: WorklistSettings = WorklistSettings()
    hl7: HL7Settings = HL7Settings()
    ups: UPSSettings = UPSSettings()
    availability: AvailabilitySettings = AvailabilitySettings()
    routes: tuple[RouteSettings, ...] = ()
    peers: tuple[PeerSettings, ...] = ()
    ae_titles: tuple[AETitleSettings, ...] = ()
    gateways: tuple[GatewaySettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `configuration.load` merges the sources and tells where each value is from."""
        return (init_settings,)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        unique([peer.ae_title for peer in self.peers], "peers", "ae_title")
        unique([gateway.name for gateway in self.gateways], "gateways", "name")
        titles = [self.node.ae_title, *(entry.ae_title for entry in self.ae_titles)]
        titles += [gateway.ae_title for gateway in self.gateways if gateway.ae_title is not None]
        unique(titles, "ae_titles", "ae_title")
        reachable = {peer.ae_title for peer in self.peers if peer.host is not None}
        for gateway in self.gateways:
            if gateway.peer is not None and gateway.peer not in reachable:
                raise ValueError(
                    f"[[gateways]] {gateway.name!r} names {gateway.peer!r}, which is no [[peers]] with a host"
                )
        known = {peer.ae_title for peer in self.peers}
        for where, named in (
            ("mpps.forward", self.mpps.forward),
            ("mpps.notify", self.mpps.notify),
            ("availability.notify", self.availability.notify),
            ("[[routes]] destination", tuple(route.destination for route in self.routes)),
        ):
            if missing := [title for title in named if title not in known]:
                raise ValueError(f"{where} names {missing[0]!r}, which is no [[peers]]")
        for entry in self.ae_titles:
            if missing := [title for title in entry.peers or () if title not in known]:
                raise ValueError(
                    f"[[ae_titles]] {entry.ae_title!r} names {missing[0]!r}, which is no [[peers]]"
                )
        return self
