"""Ranges of files into a socket by the kernel alone (sendfile), beside the transport that it belongs to.

What the socket has no room for waits in the transport: a little of it, so that the transport pauses and tells
when there is room again. TLS, and systems without sendfile, have all of it go through the transport.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from dicomwire.archive.file_range import OpenFile, read_exactly

WRITE_HIGH: Final = 64 << 10  # bytes waiting in the transport at which senders wait, until there are none
_PLUG: Final = 128 << 10  # bytes of a file that wait for room in the socket; more than WRITE_HIGH
_MORE: Final = getattr(socket, "MSG_MORE", 0)  # Linux: no segment for the head alone
_POSSIBLE: Final = hasattr(os, "sendfile")


class ZeroCopy:
    """Sends files over a transport.

    Attributes:
        taken: bytes of files that the kernel has taken.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.taken = 0
        self._transport = transport
        self._own: socket.socket | None = None
        self._possible = _POSSIBLE and transport.get_extra_info("sslcontext") is None

    def close(self) -> None:
        """Leave the socket to the transport, before that closes it."""
        self._possible = False
        if self._own is not None:
            self._own.detach()
            self._own = None

    def send(self, head: Sequence[bytes], file: OpenFile, offset: int, count: int) -> int:
        """Send what stands before bytes of a file, and as many of them as there is room for.

        Returns: how many; the transport has paused its protocol when these are not all.
        Raises: OSError, when the file cannot be read.
        """
        transport = self._transport
        descriptor, sent = file.fileno(), 0
        if not self._possible:
            transport.writelines((*head, read_exactly(descriptor, offset, count)))
            return count
        if transport.get_write_buffer_size():
            transport.writelines(head)
        elif self._sent_whole(head):
            with suppress(OSError):  # no room, or broken: the transport finds out
                sent = os.sendfile(self._socket.fileno(), descriptor, offset, count)
            self.taken += sent
        if sent < count:
            plug = read_exactly(descriptor, offset + sent, min(_PLUG, count - sent))
            transport.write(plug)
            sent += len(plug)
        return sent

    def _sent_whole(self, head: Sequence[bytes]) -> bool:
        """Send the head; the rest of one that has no room goes to the transport."""
        if not head:
            return True
        joined = b"".join(head)
        sent = 0
        with suppress(OSError):
            sent = self._socket.send(joined, _MORE)
        if sent < len(joined):
            self._transport.write(joined[sent:])
            return False
        return True

    @property
    def _socket(self) -> socket.socket:
        """The transport's socket: what it shows of it cannot send."""
        if self._own is None:
            shared = self._transport.get_extra_info("socket")
            self._own = socket.socket(shared.family, shared.type, shared.proto, fileno=shared.fileno())
        return self._own
