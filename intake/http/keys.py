"""API keys: who a request is from.

A key is 256 random bits, so nobody finds it by trying, and its SHA-256 is as safe to keep as a slow
hash of it would be: those are for passwords, which can be guessed. A fast one costs no request
anything.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from intake.http.settings import ServiceError

_PREFIX = "facecrop-"  # by which scanners for leaked secrets know one
_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_ADMIN = "admin"
_LINE = re.compile(rf"({_NAME.pattern}):([0-9a-f]{{64}})(?::({_ADMIN}))?")


@dataclass(frozen=True, slots=True)
class Client:
    """Whom a key was given to.

    Attributes:
        name: of whom; the batches handed in under it are theirs, whichever key they use.
        admin: whether it sees and steers everybody's batches.
    """

    name: str
    admin: bool = False

    @property
    def confined_to(self) -> str | None:
        """Whose batches alone it sees; None for everybody's."""
        return None if self.admin else self.name


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The keys of a file.

    Attributes:
        clients: whom each was given to, by its SHA-256.
    """

    clients: dict[bytes, Client]

    def client(self, token: str) -> Client | None:
        """Whom a key was given to; None for what is no key.

        How long it takes tells of the hash at most, from which nobody gets to a key.
        """
        return self.clients.get(hashlib.sha256(token.encode()).digest())


def make_key(name: str, *, admin: bool = False) -> tuple[str, str]:
    """A new key, and the line that lets it in.

    Args:
        name: whom it is for.
        admin: whether it is to see and steer everybody's batches.

    Raises:
        ValueError: the name cannot stand in such a line.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name}: a name has up to 64 letters, digits and . _ @ -")
    token = _PREFIX + secrets.token_urlsafe(_BYTES)
    line = f"{name}:{hashlib.sha256(token.encode()).hexdigest()}"
    return token, f"{line}:{_ADMIN}" if admin else line


def read_keys(file: str) -> ApiKeys:
    """Read a file with a line `name:hash` or `name:hash:admin` a key; `#` begins a comment line.

    Raises:
        ServiceError: it cannot be read, has no key, or a line is none.
    """
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ServiceError(f"cannot read the API keys of {file}: {error}") from error
    clients: dict[bytes, Client] = {}
    names = set[str]()
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        matched = _LINE.fullmatch(line)
        if matched is None:
            raise ServiceError(
                f"{file}, line {number}, is no API key; `facecrop api-key NAME` prints one"
            )
        if matched[1] in names:
            raise ServiceError(f"{file} has {matched[1]} twice; rename one")
        names.add(matched[1])
        key = bytes.fromhex(matched[2])
        if key in clients:
            raise ServiceError(
                f"{file} has one key twice, for {clients[key].name} and {matched[1]}"
            )
        clients[key] = Client(matched[1], admin=bool(matched[3]))
    if not clients:
        raise ServiceError(f"{file} has no API key; `facecrop api-key NAME` prints one")
    return ApiKeys(clients)
