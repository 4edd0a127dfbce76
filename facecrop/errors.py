"""The root of what Facecrop raises; imports nothing, so that every room may derive from it."""

from __future__ import annotations


class FacecropError(Exception):
    """Facecrop cannot do what it was asked for, said in one line."""
