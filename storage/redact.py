"""Addresses as people may see them: without passwords, tokens and signatures."""

from __future__ import annotations

import re

HIDDEN = "***"

# A password may itself hold an @ or a slash, so all up to the last @ goes; but a port is none.
_PASSWORD = re.compile(r"://[^\s/@:\[]*:(?!\d{1,5}(?:[/?#\s]|$))\S*@")
_TOKEN = re.compile(r"(https?://)[^\s/?#]+@", re.IGNORECASE)
# Which of its values is a signature only the server knows, so all of a query goes.
_QUERY = re.compile(r"(https?://[^\s?]*\?)(?!\*\*\*)\S+", re.IGNORECASE)


def shown(text: str) -> str:
    """A URI, or a text with URIs in it, without what lets its reader in where they lead.

    Hidden are names with their passwords, and of http(s) all that stands before the host and all of
    the query. A path is shown as it is. What was hidden before stays as it is.
    """
    text = _PASSWORD.sub(f"://{HIDDEN}@", text)
    text = _TOKEN.sub(rf"\1{HIDDEN}@", text)
    return _QUERY.sub(rf"\1{HIDDEN}", text)


def hides(uri: str) -> bool:
    """Whether `shown` has hidden some of a URI, which can no longer be opened then."""
    return f"://{HIDDEN}@" in uri or uri.endswith(f"?{HIDDEN}")
