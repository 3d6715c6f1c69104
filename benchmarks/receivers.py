"""The receivers that are measured, each started with an empty folder on free ports and stopped by its pid.

Each runs as it ships: only ports, folders and what storing from an unknown peer needs are set. A receiver's
`count` says how many instances it holds in its own words, so that a run counts only if all arrived.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import wire

READY_WITHIN = 30.0  # seconds
STOP_WITHIN = 15.0  # seconds after SIGTERM
PORTS = range(12_000, 32_000)  # below /proc/sys/net/ipv4/ip_local_port_range
POLL = 0.02  # seconds between two looks at a starting receiver


class ReceiverError(Exception):
    """A receiver did not start, stop or answer."""


def free_port() -> int:
    """A TCP port of the loopback interface that nothing uses at the moment.

    It is none of those that Linux gives to clients, so that it stays free while its owner starts again.
    """
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ReceiverError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")


@dataclass
class Receiver(ABC):
    """A receiver that can be started on a folder, measured and stopped."""

    folder: Path
    nodelay: bool = True  # run with TCP_NODELAY=1, which DCMTK's library obeys
    destinations: Mapping[str, int] = field(default_factory=dict)  # ports on this machine by AE title
    dimse_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    ready_seconds: float = 0.0
    process: subprocess.Popen[bytes] | None = None

    name = ""
    ae_title = "ANY-SCP"
    dicomweb = ""  # path of the DICOMweb service, empty where there is none

    @classmethod
    @abstractmethod
    def missing(cls) -> str:
        """What has to be installed first, or nothing."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Name and version, for the table."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line, after writing what configuration it needs into the folder."""

    @abstractmethod
    def count(self) -> int:
        """How many instances it holds."""

    @property
    def pid(self) -> int:
        """Process id of the running receiver."""
        if self.process is None:
            raise ReceiverError(f"{self.name} is not running")
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it answers a C-ECHO and, where it has a web door, that too."""
        started = time.monotonic()
        process = self.launch()
        while not self._answers():
            if process.poll() is not None:
                raise ReceiverError(f"{self.name} ended with {process.returncode}: {_words(process)}")
            if time.monotonic() - started > READY_WITHIN:
                self.stop()
                raise ReceiverError(f"{self.name} not ready within {READY_WITHIN} s: {_words(process)}")
            time.sleep(POLL)
        self.ready_seconds = time.monotonic() - started

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it and wait for nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **self.environment()}
        environment.pop("TCP_NODELAY", None)
        if self.nodelay:
            environment["TCP_NODELAY"] = "1"
        command = list(self.command())
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=self.folder
            )
        return self.process

    def environment(self) -> Mapping[str, str]:
        """Environment variables it needs."""
        return {}

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int | None:
        """End it by a signal, by SIGKILL if that does not help; its exit status, if it was running."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        process.send_signal(how)
        try:
            return process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def url(self, path: str) -> str:
        """A URL under its DICOMweb service."""
        return f"http://127.0.0.1:{self.http_port}{self.dicomweb}{path}"

    def _answers(self) -> bool:
        try:
            association = wire.associate(
                self.dimse_port,
                called_ae_title=self.ae_title,
                abstract_syntax=wire.VERIFICATION,
                transfer_syntax=wire.IMPLICIT,
                timeout=5.0,
            )
            association.echo()
            association.release()
            if self.dicomweb:
                urllib.request.urlopen(self.url("/studies?limit=1"), timeout=5.0).close()
        except (OSError, wire.PeerError):
            return False
        return True


class StoreSCP(Receiver):
    """DCMTK's storescp with a process for each association: writes files, neither indexes nor syncs."""

    name = "storescp --fork"

    @classmethod
    def missing(cls) -> str:
        return _missing("storescp", "apt-get install dcmtk")

    @classmethod
    def version(cls) -> str:
        return "DCMTK " + _first_line("storescp", "--version").split()[2]

    def command(self) -> Sequence[str]:
        return _dcmtk(
            "storescp", "--fork", "--max-pdu", "131072", "-od", str(self.folder), str(self.dimse_port)
        )

    def count(self) -> int:
        return sum(1 for each in os.scandir(self.folder) if each.is_file())


class Sink(StoreSCP):
    """DCMTK's storescp that keeps nothing: where instances are moved to."""

    name = "storescp --fork --ignore"
    ae_title = "SINK"

    def command(self) -> Sequence[str]:
        return _dcmtk("storescp", "--fork", "--ignore", str(self.dimse_port))


class DcmQRSCP(Receiver):
    """DCMTK's dcmqrscp: an archive with an index file for each storage area."""

    name = "dcmqrscp"
    ae_title = "ARCHIVE"

    @classmethod
    def missing(cls) -> str:
        return _missing("dcmqrscp", "apt-get install dcmtk")

    @classmethod
    def version(cls) -> str:
        return "DCMTK " + _first_line("dcmqrscp", "--version").split()[2]

    def command(self) -> Sequence[str]:
        area = self.folder / "area"
        area.mkdir(exist_ok=True)
        configuration = self.folder / "dcmqrscp.cfg"
        configuration.write_text(
            f"NetworkTCPPort = {self.dimse_port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
            f"HostTable BEGIN\n{self._hosts()}HostTable END\nVendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\n{self.ae_title} {area} RW (1000, 100000mb) ANY\nAETable END\n"
        )
        return _dcmtk("dcmqrscp", "-c", str(configuration))

    def _hosts(self) -> str:
        places = self.destinations.items()
        return "".join(f"host{port} = ({title}, 127.0.0.1, {port})\n" for title, port in places)

    def count(self) -> int:
        return sum(1 for each in os.scandir(self.folder / "area") if each.name != "index.dat")


class Orthanc(Receiver):
    """Orthanc with Debian's configuration: only the ports, folders and plug-ins but DICOMweb are changed."""

    name = "Orthanc"
    ae_title = "ORTHANC"
    dicomweb = "/dicom-web"
    DEBIAN = Path("/etc/orthanc")

    @classmethod
    def missing(cls) -> str:
        return _missing("Orthanc", "apt-get install orthanc orthanc-dicomweb")

    @classmethod
    def version(cls) -> str:
        return "Orthanc " + _first_line("Orthanc", "--version").split()[-1].split("+")[0]

    def command(self) -> Sequence[str]:
        storage = self.folder / "db-v6"
        storage.mkdir(exist_ok=True)
        configuration = self.folder / "configuration"
        configuration.mkdir(exist_ok=True)
        shutil.copy(self.DEBIAN / "dicomweb.json", configuration)
        general = (self.DEBIAN / "orthanc.json").read_text()
        for shipped, own in {
            '"/var/lib/orthanc/db-v6"': json.dumps(str(storage)),
            '"HttpPort" : 8042': f'"HttpPort" : {self.http_port}',
            '"DicomPort" : 4242': f'"DicomPort" : {self.dimse_port}',
            '"DicomModalities" : {': '"DicomModalities" : {' + self._modalities(),
            '"/usr/share/orthanc/plugins/"': '"/usr/share/orthanc/plugins/libOrthancDicomWeb.so"',
        }.items():
            if shipped not in general:
                raise ReceiverError(f"{self.DEBIAN}/orthanc.json does not say {shipped}")
            general = general.replace(shipped, own)
        (configuration / "orthanc.json").write_text(general)
        return ["Orthanc", str(configuration)]

    def _modalities(self) -> str:
        """Where C-MOVE sends to; who may ask for that is a modality, too."""
        known = {**self.destinations, wire.CALLING_AE_TITLE: 104} if self.destinations else {}
        return ",".join(f'"{title}": ["{title}", "127.0.0.1", {port}]' for title, port in known.items())

    def count(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/statistics") as answer:
            return int(json.load(answer)["CountInstances"])


class QRSCP(Receiver):
    """pynetdicom's example archive."""

    name = "pynetdicom qrscp"
    ae_title = "QRSCP"

    @classmethod
    def missing(cls) -> str:
        return ""

    @classmethod
    def version(cls) -> str:
        return _first_line(sys.executable, "-c", "import pynetdicom as p; print('pynetdicom', p.__version__)")

    def command(self) -> Sequence[str]:
        instances = self.folder / "instances"
        instances.mkdir(exist_ok=True)
        configuration = self.folder / "qrscp.ini"
        configuration.write_text(
            f"[DEFAULT]\nae_title: {self.ae_title}\nport: {self.dimse_port}\nmax_pdu: 16382\n"
            f"acse_timeout: 30\ndimse_timeout: 30\nnetwork_timeout: 30\nbind_address: 127.0.0.1\n"
            f"instance_location: {instances}\ndatabase_location: {self.folder / 'instances.sqlite'}\n"
            + "".join(
                f"[{title}]\naddress: 127.0.0.1\nport: {port}\n" for title, port in self.destinations.items()
            )
        )
        return [sys.executable, "-m", "pynetdicom", "qrscp", "-q", "-c", str(configuration)]

    def count(self) -> int:
        return sum(1 for each in (self.folder / "instances").rglob("*") if each.is_file())


class Dicomwire(Receiver):
    """This node with its default settings."""

    name = "dicomwire"
    ae_title = "DICOMWIRE"
    dicomweb = "/dicom-web"

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which(cls.program()) else f"{cls.program()} (pip install -e .)"

    @classmethod
    def program(cls) -> str:
        """The installed command beside this Python."""
        return str(Path(sys.executable).with_name("dicomwire"))

    @classmethod
    def version(cls) -> str:
        return _first_line(sys.executable, "-c", "import dicomwire as d; print('dicomwire', d.__version__)")

    def command(self) -> Sequence[str]:
        ports = ["--dimse-port", str(self.dimse_port), "--http-port", str(self.http_port)]
        command = [self.program(), "serve", "--data", str(self.data), *ports, *self.options()]
        if not self.destinations:
            return command
        configuration = self.folder / "dicomwire.toml"
        configuration.write_text(
            "".join(
                f'[[peers]]\nae_title = "{title}"\nhost = "127.0.0.1"\nport = {port}\n'
                for title, port in self.destinations.items()
            )
        )
        return [*command, "--config", str(configuration)]

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    def options(self) -> Sequence[str]:
        """Further flags of `dicomwire serve`."""
        return ()

    def count(self) -> int:
        total = 0
        with urllib.request.urlopen(self.url("/studies?includefield=00201208&limit=1000")) as answer:
            for study in json.load(answer):
                total += int(study["00201208"]["Value"][0])
        return total


RECEIVERS: dict[str, type[Receiver]] = {
    "dicomwire": Dicomwire,
    "orthanc": Orthanc,
    "storescp": StoreSCP,
    "dcmqrscp": DcmQRSCP,
    "qrscp": QRSCP,
}


def _words(process: subprocess.Popen[bytes]) -> str:
    return " ".join(map(str, process.args)) if isinstance(process.args, list) else str(process.args)


def _dcmtk(program: str, *arguments: str) -> list[str]:
    """DCMTK's program by its path: pynetdicom installs programs of the same names beside Python."""
    return [system_program(program) or program, *arguments]


def system_program(program: str) -> str | None:
    """The path of an installed program that is not one of those beside this Python."""
    beside_python = Path(sys.executable).parent
    paths = [each for each in os.get_exec_path() if Path(each) != beside_python]
    return shutil.which(program, path=os.pathsep.join(paths))


def _missing(program: str, remedy: str) -> str:
    return "" if system_program(program) else f"{program} ({remedy})"


def _first_line(program: str, *arguments: str) -> str:
    command = [system_program(program) or program, *arguments]
    with suppress(OSError, IndexError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()[0]
    return f"{program} of unknown version"
