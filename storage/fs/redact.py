"""Addresses as people may see them: without passwords, tokens and signatures."""

from __future__ import annotations

import re

HIDDEN = "***"

_SPACE = re.compile(r"(\s+)")
# A password may itself hold an @ or a slash, so all up to the last @ goes; but a port is none.
_PASSWORD = re.compile(r"://[^/@:\[]*:(?!\d{1,5}(?:[/?#]|\Z)).*@", re.DOTALL)
_TOKEN = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z0-9+.-]*)://[^/?#]+@")
# Of these a lone name is a login or a container, and leads nowhere without a password.
_NAMED = frozenset(("sftp", "ssh", "scp", "abfs", "abfss", "wasb", "wasbs", "adl", "hdfs", "smb"))
_LAST_SCHEME = re.compile(r"[A-Za-z0-9+.-]*\Z")
_WEB = re.compile(r"http|dav|ftp", re.IGNORECASE)
# An object's key may have ? and # in it: `s3://photos/what?.jpg`.
_FILE = re.compile(
    r"[^?#&:@]*\.(?:jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif|hei[cf]|zip|tar|tgz|tzst|gz|zst|txt"
    r"|list)|versionId=[\w.-]+",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"sig|token|secret|pass|pwd|key|cred|auth|session|policy|code=|jwt|sas", re.IGNORECASE
)
_COMMAND = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CLOSING = "\"'`)]}>,;|"
_PUNCTUATION = ":.!?" + _CLOSING


def printable(text: str, *, one_line: bool = False) -> str:
    """A text in which what a terminal would take for a command is spelled out, as `\\x1b` is.

    Args:
        text: from outside.
        one_line: spell out all that does not print, such as line feeds and marks that turn the
            direction of writing; else only the control characters but tab and line feed (ECMA-48).
    """
    if one_line:
        return "".join(sign if sign.isprintable() else _spelled(sign) for sign in text)
    return _COMMAND.sub(lambda sign: _spelled(sign[0]), text)


def shown(text: str) -> str:
    """A text with URIs in it, without what lets its reader in where they lead.

    Hidden are, of every scheme, names with their passwords, and queries and fragments but for those
    that can only be part of an object's key; and what stands alone before a host, where that may be
    a token. A path is shown as it is, and so is what was hidden before. In a text a URI ends at the
    first blank: one that may have blanks in it is for `shown_uri`.
    """
    if "://" not in text:
        return text
    return "".join(_hide(run, in_text=True) for run in _SPACE.split(text))


def shown_uri(uri: str) -> str:
    """The same of a text that is one URI from its beginning to its end, or a path."""
    return _hide(uri, in_text=False)


def bare(uri: str) -> str:
    """What `shown_uri` shows, without the mark of a query or fragment."""
    return re.sub(rf"[?#]{re.escape(HIDDEN)}\Z", "", shown_uri(uri))


def hides(uri: str) -> bool:
    """Whether some of a URI was hidden, which can no longer be opened then."""
    return f"://{HIDDEN}@" in uri or uri.endswith((f"?{HIDDEN}", f"#{HIDDEN}"))


def _spelled(sign: str) -> str:
    number = ord(sign)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _hide(run: str, *, in_text: bool) -> str:
    if "://" not in run:
        return run
    run = _PASSWORD.sub(f"://{HIDDEN}@", run)
    run = _TOKEN.sub(_without_token, run)
    begin = run.index("://") + 3
    cut = re.compile("[?#]").search(run, begin)
    if cut is None:
        return run
    head, tail = run[: cut.end()], run[cut.end() :]
    if in_text and tail.startswith(HIDDEN) and not tail[len(HIDDEN) :].strip(_PUNCTUATION):
        return run
    if in_text and tail.startswith(tuple(HIDDEN + sign for sign in _CLOSING)):
        return head + HIDDEN + _hide(tail[len(HIDDEN) :], in_text=True)
    return head + (tail if not tail or _is_key(head, tail) else HIDDEN)


def _without_token(found: re.Match[str]) -> str:
    return found[0] if found[1].lower() in _NAMED else f"{found[1]}://{HIDDEN}@"


def _is_key(head: str, tail: str) -> bool:
    """Whether what follows a ? or # can only be the end of an object's key, or its version."""
    scheme = _LAST_SCHEME.search(head.rpartition("://")[0])
    if scheme is None or _WEB.search(scheme[0]):
        return False
    return bool(_FILE.fullmatch(tail.rstrip(_PUNCTUATION))) and not _SECRET.search(tail)
