"""Two machines and a router between them, in network namespaces: what breaks between devices, for real.

Needs root and iproute2. Packets are lost by routes that lead nowhere and by cables that are too narrow, which
every kernel can.
"""

from __future__ import annotations

import ctypes
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.recording import recorded

CLIENT, ROUTER, SERVER = "client", "router", "server"
CLIENT_ADDRESS, SERVER_ADDRESS = "10.77.1.2", "10.77.2.2"
CLIENT_ADDRESS_6, SERVER_ADDRESS_6 = "fd77:1::2", "fd77:2::2"
NARROW = 1_200  # bytes that pass the narrow cable in a packet
_CLONE_NEWNET = 0x40000000


class Network:
    """The machines, each a network namespace that is gone at the end of the `with` block."""

    def __init__(self, folder: Path) -> None:
        self.capture = folder / "network.pcapng"
        self._suffix = uuid.uuid4().hex[:8]
        self._folder = folder

    def __enter__(self) -> Network:
        for machine in (CLIENT, ROUTER, SERVER):
            _ip("netns", "add", self.namespace(machine))
            self.ip(machine, "link", "set", "lo", "up")
        self._cable(CLIENT, "c0", "r1", "10.77.1", "fd77:1:")
        self._cable(SERVER, "s0", "r2", "10.77.2", "fd77:2:")
        with self.inside(ROUTER):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        return self

    def __exit__(self, *_: object) -> None:
        for machine in (CLIENT, ROUTER, SERVER):
            _ip("netns", "delete", self.namespace(machine))

    def _cable(self, machine: str, near: str, far: str, network: str, network6: str) -> None:
        """Between a machine's interface and the router's, which is .1 of the network."""
        ends = (self.namespace(machine), self.namespace(ROUTER))
        _ip("link", "add", near, "netns", ends[0], "type", "veth", "peer", "name", far, "netns", ends[1])
        for where, interface, host in ((machine, near, 2), (ROUTER, far, 1)):
            self.ip(where, "address", "add", f"{network}.{host}/24", "dev", interface)
            self.ip(where, "address", "add", f"{network6}:{host}/64", "dev", interface, "nodad")
            self.ip(where, "link", "set", interface, "up")
        self.ip(machine, "route", "add", "default", "via", f"{network}.1")
        self.ip(machine, "route", "add", "default", "via", f"{network6}:1")

    def namespace(self, machine: str) -> str:
        return f"{machine}-{self._suffix}"

    def ip(self, machine: str, *arguments: str) -> None:
        """iproute2's `ip` on a machine."""
        _ip("-n", self.namespace(machine), *arguments)

    @contextmanager
    def inside(self, machine: str) -> Iterator[None]:
        """This thread, the programs and the threads that it starts are on the machine."""
        with (
            open("/proc/thread-self/ns/net") as own,
            open(f"/run/netns/{self.namespace(machine)}") as other,
        ):
            _enter(other.fileno())
            try:
                yield
            finally:
                _enter(own.fileno())

    @contextmanager
    def recording(self, *options: str, wanted: str = "tcp or udp or icmp or icmp6") -> Iterator[None]:
        """Records what passes the client's interface into `capture`."""
        with self.inside(CLIENT), recorded(self.capture, "c0", SERVER_ADDRESS, *options, wanted=wanted):
            yield

    def drop(self, address: str) -> None:
        """The router throws away what is for this address, and says nothing."""
        self.ip(ROUTER, "route", "add", "blackhole", address)

    def refuse(self, address: str, how: str) -> None:
        """The router says `unreachable` or `prohibit` by ICMP."""
        self.ip(ROUTER, "route", "add", how, address)

    def narrow(self) -> None:
        """Large packets to the server are lost without a word: a router that drops ICMP, or a tunnel."""
        self.ip(SERVER, "link", "set", "s0", "mtu", str(NARROW))
        self.ip(SERVER, "route", "change", "default", "via", "10.77.2.1", "advmss", "1460")
        self.ip(CLIENT, "link", "set", "c0", "gso_max_segs", "1")  # else one large packet passes for many

    @contextmanager
    def name_server(self, address: str) -> Iterator[list[str]]:
        """How a program on the client is started that asks this name server."""
        settings = self._folder / "resolv.conf"
        settings.write_text(f"nameserver {address}\noptions timeout:1 attempts:2\n")
        mounted = f'mount --bind {settings} /etc/resolv.conf && exec "$@"'
        yield ["unshare", "--mount", "sh", "-c", mounted, "sh"]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
