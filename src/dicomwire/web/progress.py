"""Whether a client takes anything of its answer."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from dicomwire.web.zero_copy import ZeroCopy

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ


class Progress:
    """Looks now and then at what one connection still has to send."""

    def __init__(self, transport: asyncio.Transport, files: ZeroCopy, now: float) -> None:
        self._transport = transport
        self._files = files
        self._seen = (0, 0, 0)
        self._since = now

    def stalled(self, now: float) -> float:
        """Seconds for which nothing has been taken; 0 where nothing waits."""
        unsent = self._transport.get_write_buffer_size()
        seen = unsent, self._files.taken, self._queued()
        if not unsent or seen != self._seen:
            self._seen, self._since = seen, now
        return now - self._since

    def _queued(self) -> int:
        """Bytes in the socket that the client has not acknowledged: long before there is room for more
        they become fewer. 0 on systems that do not tell."""
        if sys.platform == "linux":
            with suppress(OSError):
                answer = ioctl(self._transport.get_extra_info("socket").fileno(), TIOCOUTQ, bytes(4))
                return int.from_bytes(answer, sys.byteorder)
        return 0
