"""An event channel as a client sees it: the messages of a websocket (PS3.18 8.10.4). The server's end is
`subscriptions`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from typing import Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from dicomwire.errors import WebServiceError

LONGEST: Final = 16 << 20  # bytes of one message


async def messages(
    url: str, auth: httpx.Auth | None, verify: ssl.SSLContext | bool
) -> AsyncGenerator[str, None]:
    """The text messages of a websocket, as they come, until the service closes it.

    verify: as of `WebClient`.
    Raises: WebServiceError.
    """
    try:
        async with connect(
            url, additional_headers=_login(url, auth), ssl=_trust(url, verify), max_size=LONGEST
        ) as channel:
            async for message in channel:
                yield message if isinstance(message, str) else message.decode()
    except (WebSocketException, OSError) as error:
        raise WebServiceError(f"{url}: {str(error) or type(error).__name__}") from error


def _login(url: str, auth: httpx.Auth | None) -> dict[str, str]:
    """The header that logs in."""
    if auth is None:
        return {}
    request = next(auth.auth_flow(httpx.Request("GET", url.replace("ws", "http", 1))))
    return {"Authorization": request.headers["Authorization"]}


def _trust(url: str, verify: ssl.SSLContext | bool) -> ssl.SSLContext | None:
    """The TLS context; None where there is no TLS."""
    if not url.startswith("wss:"):
        return None
    if isinstance(verify, ssl.SSLContext):
        return verify
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
