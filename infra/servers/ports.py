"""Free ports of this machine, and whether the servers that are started on them answer."""

from __future__ import annotations

import random
import socket
import urllib.error
import urllib.request

_HOST = "127.0.0.1"
_APART = 10_000
_FIRST, _LAST = 10_000, 22_000


def free_ports(count: int) -> list[int]:
    """Find ports on 127.0.0.1 that are free, each together with the one 10,000 above.

    All of them lie below those that systems give to clients. Among these, whoever asks a server
    that is not up yet may be given its very port, and be connected to itself.
    """
    found: list[socket.socket] = []
    port = random.randrange(_FIRST, _LAST)  # tests run in several processes
    while len(found) < 2 * count:
        port = port + 1 if port < _LAST else _FIRST
        pair = [socket.socket(), socket.socket()]
        try:
            pair[0].bind((_HOST, port))
            pair[1].bind((_HOST, port + _APART))
        except OSError:
            for one in pair:
                one.close()
        else:
            found += pair
    ports = [int(one.getsockname()[1]) for one in found[::2]]
    for one in found:
        one.close()
    return ports


def answers(url: str) -> bool:
    """Whether a server says at an address that all is well."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
