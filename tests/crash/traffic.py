"""Clients that store through both doors at once and remember exactly what was acknowledged."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from benchmarks import data, load, wire
from benchmarks.data import Instance
from tests.interop.support import AS_STORED, Node, data_set_of

DIMSE_CLIENTS = 4
WEB_BATCH = 3  # instances of one STOW-RS request
LARGE_EVERY = 25  # one instance in so many is larger than what shares a segment
LARGE_PIXELS = 3 << 20  # bytes
PATIENCE = 60.0  # seconds for a number of acknowledgements
REFERENCED_SOP_SEQUENCE = "00081199"


@dataclass
class Traffic:
    """Endless load on a node; `acknowledged` holds every instance a client has seen stored."""

    node: Node
    instances: Iterator[Instance]
    acknowledged: dict[str, Instance] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)  # statuses other than success
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _over: threading.Event = field(default_factory=threading.Event)
    _clients: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start the clients; they end by themselves when the node does."""
        self._over.clear()
        self._clients = [threading.Thread(target=self._dimse) for _ in range(DIMSE_CLIENTS)]
        self._clients.append(threading.Thread(target=self._web))
        for client in self._clients:
            client.start()

    def wait_for(self, more: int) -> None:
        """Wait until so many more instances are acknowledged."""
        goal = len(self.acknowledged) + more
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= goal, PATIENCE), self.node.log

    def wait_for_refusal(self) -> None:
        """Wait until the node has refused something."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.refused), PATIENCE), self.node.log

    def join(self) -> None:
        """Wait for the clients to have seen the node's end."""
        self._over.set()
        for client in self._clients:
            client.join(PATIENCE)
            assert not client.is_alive()

    def _next(self) -> Instance:
        with self._lock:
            return next(self.instances)

    def _done(self, *stored: Instance, status: int = 0) -> None:
        with self._changed:
            if status:
                self.refused.append(status)
            else:
                self.acknowledged.update((each.sop_instance_uid, each) for each in stored)
            self._changed.notify_all()

    def _dimse(self) -> None:
        first = self._next()
        try:
            association = wire.associate(
                self.node.dimse_port,
                called_ae_title=self.node.ae_title,
                abstract_syntax=first.sop_class_uid,
                timeout=PATIENCE,
            )
            with association.socket:
                for number in range(1 << 16):
                    instance = self._next() if number else first
                    for piece in load.message(association.fragment, number, instance):
                        association.socket.sendall(piece)
                    self._done(instance, status=association.receive_status())
                    if self._over.is_set():
                        return
        except (OSError, wire.PeerError):
            return

    def _web(self) -> None:
        while not self._over.is_set():
            batch = [self._next() for _ in range(WEB_BATCH)]
            parts = [
                b"--b\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % b"".join(each.part10())
                for each in batch
            ]
            request = urllib.request.Request(
                self.node.url("/studies"),
                b"".join(parts) + b"--b--\r\n",
                {
                    "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
                    "Accept": "application/dicom+json",
                },
            )
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    said = json.load(answer)
            except urllib.error.HTTPError as error:
                error.close()
                self._done(status=error.code)
                continue
            except (OSError, http.client.HTTPException, ValueError):
                return  # killed before or within its answer
            stored = {each["00081155"]["Value"][0] for each in said[REFERENCED_SOP_SEQUENCE]["Value"]}
            self._done(*(each for each in batch if each.sop_instance_uid in stored))


def instances(seed: int) -> Iterator[Instance]:
    """Endless different instances of 10 KB, now and then one of 3 MB; the same ones for the same seed."""
    noise = random.Random(seed)
    template = data.make("small", 100_000)
    uid = template.sop_instance_uid.encode()
    for number in range(100_000, 1_000_000):
        own = uid[:-6] + b"%06d" % number
        header = template.header.replace(uid, own)
        pixels = len(template.block)
        if number % LARGE_EVERY == 0:
            pixels = LARGE_PIXELS
            header = header[:-4] + pixels.to_bytes(4, "little")
        yield replace(
            template,
            sop_instance_uid=own.decode(),
            file_meta=template.file_meta.replace(uid, own),
            header=header,
            block=noise.randbytes(pixels),
            length=len(header) + pixels,
        )


def lost(node: Node, acknowledged: dict[str, Instance]) -> list[str]:
    """What is wrong with the acknowledged instances on the node: not found by QIDO-RS, or other bytes."""
    rows = node.instances()
    wrong = [f"{uid} is not found" for uid in acknowledged if uid not in rows]
    for uid, instance in acknowledged.items():
        if uid not in rows:
            continue
        study, series = (rows[uid][tag]["Value"][0] for tag in ("0020000D", "0020000E"))
        answer = node.get(f"/studies/{study}/series/{series}/instances/{uid}", AS_STORED)
        if answer.status != 200:
            wrong.append(f"{uid} is found but answered with {answer.status}")
        elif data_set_of(answer.parts()[0]) != b"".join(instance.data_set()):
            wrong.append(f"{uid} has other bytes")
    return wrong


def start_timed(node: Node) -> float:
    """Start the node; seconds until both doors answered."""
    started = time.monotonic()
    node.start()
    return time.monotonic() - started
