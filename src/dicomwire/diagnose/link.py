"""Link-layer headers: where in a captured packet the IP packet begins.

LINKTYPE_ numbers are those of tcpdump.org: Ethernet with VLAN and QinQ tags, loopback of BSD (NULL, LOOP),
Linux cooked v1 and v2 (`-i any`), raw IP, PPP over Ethernet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

NULL: Final = 0
ETHERNET: Final = 1
RAW_OLD: Final = (12, 14)  # DLT_RAW as some systems write it
RAW: Final = 101
LOOP: Final = 108
LINUX_SLL: Final = 113
RAW_IPV4: Final = 228
RAW_IPV6: Final = 229
LINUX_SLL2: Final = 276

_IP_ETHERTYPES: Final = frozenset({0x0800, 0x86DD})
_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})  # 802.1Q, 802.1ad and what came before it
_PPPOE_SESSION: Final = 0x8864
_PPP_IP: Final = frozenset({0x0021, 0x0057})
_MOST_TAGS: Final = 4


def network_offset(link_type: int, data: bytes, start: int, end: int) -> int | None:
    """Where the IP packet begins, None where the packet is none.

    Args:
        link_type: LINKTYPE_ number.
        data: holds the packet from `start` to before `end`.
    """
    find = _FINDERS.get(link_type)
    offset = find(data, start, end) if find else None
    if offset is None or offset >= end or data[offset] >> 4 not in (4, 6):
        return None
    return offset


def _by_ethertype(data: bytes, at: int, end: int) -> int | None:
    """`at` is where an EtherType stands; tags behind it are skipped."""
    for _ in range(_MOST_TAGS + 1):
        if at + 2 > end:
            return None
        ethertype = data[at] << 8 | data[at + 1]
        if ethertype in _IP_ETHERTYPES:
            return at + 2
        if ethertype == _PPPOE_SESSION and at + 10 <= end:
            return at + 10 if data[at + 8] << 8 | data[at + 9] in _PPP_IP else None
        if ethertype not in _TAGS:
            return None
        at += 4
    return None


def _ethernet(data: bytes, start: int, end: int) -> int | None:
    return _by_ethertype(data, start + 12, end)


def _linux_sll(data: bytes, start: int, end: int) -> int | None:
    return _by_ethertype(data, start + 14, end)


def _linux_sll2(data: bytes, start: int, end: int) -> int | None:
    if start + 20 > end:
        return None
    ethertype = data[start] << 8 | data[start + 1]
    if ethertype in _TAGS:  # the tag that the kernel left in the payload
        return _by_ethertype(data, start + 22, end)
    return start + 20 if ethertype in _IP_ETHERTYPES else None


def _loopback(data: bytes, start: int, end: int) -> int | None:
    """The address family differs per system and byte order; the IP version tells enough."""
    return start + 4


def _raw(data: bytes, start: int, end: int) -> int | None:
    return start


_FINDERS: Final[dict[int, Callable[[bytes, int, int], int | None]]] = {
    NULL: _loopback,
    ETHERNET: _ethernet,
    **dict.fromkeys(RAW_OLD, _raw),
    RAW: _raw,
    LOOP: _loopback,
    LINUX_SLL: _linux_sll,
    RAW_IPV4: _raw,
    RAW_IPV6: _raw,
    LINUX_SLL2: _linux_sll2,
}
