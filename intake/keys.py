"""API keys: who a request is from.

A key is 256 random bits, so nobody finds it by trying, and its SHA-256 is as safe to keep as a slow
hash of it would be: those are for passwords, which can be guessed. A fast one costs no request
anything.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from intake.service import ServiceError

_PREFIX = "facecrop-"  # by which scanners for leaked secrets know one
_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LINE = re.compile(rf"({_NAME.pattern}):([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The keys of a file.

    Attributes:
        hashes: SHA-256 of each key, by the name of whom it was given to.
    """

    hashes: dict[str, bytes]

    def owner(self, token: str) -> str | None:
        """The name that a key was made for; None for what is no key.

        It takes as long whichever key it is, and however much of one is right.
        """
        given = hashlib.sha256(token.encode()).digest()
        found = None
        for name, known in self.hashes.items():
            if hmac.compare_digest(given, known):
                found = name
        return found


def make_key(name: str) -> tuple[str, str]:
    """A new key, and the line that lets it in.

    Raises:
        ValueError: the name cannot stand in such a line.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name}: a name has up to 64 letters, digits and . _ @ -")
    token = _PREFIX + secrets.token_urlsafe(_BYTES)
    return token, f"{name}:{hashlib.sha256(token.encode()).hexdigest()}"


def read_keys(file: str) -> ApiKeys:
    """Reads a file with a line `name:hash` a key; `#` begins a comment line.

    Raises:
        ServiceError: it cannot be read, has no key, or a line is none.
    """
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ServiceError(f"cannot read the API keys of {file}: {error}") from error
    hashes: dict[str, bytes] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        matched = _LINE.fullmatch(line)
        if matched is None:
            raise ServiceError(
                f"{file}, line {number}, is no API key; `facecrop api-key NAME` prints one"
            )
        if matched[1] in hashes:
            raise ServiceError(f"{file} has {matched[1]} twice; rename one")
        hashes[matched[1]] = bytes.fromhex(matched[2])
    if not hashes:
        raise ServiceError(f"{file} has no API key; `facecrop api-key NAME` prints one")
    return ApiKeys(hashes)
