"""What can go wrong between an archive and its output, and which of it is worth another try."""

from __future__ import annotations

from enum import StrEnum

from storage.redact import shown


class MemberErrorCode(StrEnum):
    """Why one member could not be read. Each is permanent except `unreadable`."""

    ENCRYPTED = "encrypted"
    UNSUPPORTED_COMPRESSION = "unsupported_compression"
    CRC_MISMATCH = "crc_mismatch"
    SIZE_MISMATCH = "size_mismatch"  # the data is not as long as the archive declares
    CORRUPT_ENTRY = "corrupt_entry"  # a header or a compressed stream that makes no sense
    UNSAFE_NAME = "unsafe_name"  # absolute, climbing, with a drive letter or a NUL
    TOO_LARGE = "too_large"  # over the bound on one member's bytes
    MISSING = "missing"  # listed, but gone when it was read
    UNREADABLE = "unreadable"  # storage failed on every attempt


class SkipReason(StrEnum):
    """Why a member is no image that anybody meant to hand in."""

    NOT_AN_IMAGE = "not_an_image"
    SYSTEM_FILE = "system_file"  # __MACOSX, ._*, .DS_Store, Thumbs.db, desktop.ini
    LINK = "link"
    SPECIAL_FILE = "special_file"  # device, pipe, socket
    NESTED_ARCHIVE = "nested_archive"


class _LineError(Exception):
    """What is wrong in one line, without the secrets of the URIs in it: logs and states keep it."""

    def __init__(self, line: str) -> None:
        super().__init__(shown(line))


class StorageError(_LineError):
    """One clear line for a person, naming input and fix. Permanent: trying again is no use."""


class ArchiveError(StorageError):
    """The archive as a whole cannot be used: absent, forbidden, cut short, not one, changed."""


class OutputError(StorageError):
    """The output cannot be used: unwritable, or it holds another batch."""


class TransientError(_LineError):
    """Storage did not answer as it should have; the same call may succeed later."""


class MemberError(Exception):
    """One member cannot be read; its neighbours can.

    Attributes:
        code: the closed-set reason that goes into the manifest.
    """

    def __init__(self, code: MemberErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def too_large(size: int, limit: int) -> MemberError:
    """The error for a member above the bound, both in bytes."""
    return MemberError(
        MemberErrorCode.TOO_LARGE, f"it has {size} bytes; the limit for one member is {limit}"
    )


def too_many(uri: str, limit: int) -> ArchiveError:
    """The error for an archive with more members than the bound."""
    return ArchiveError(
        f"{uri} has more than {limit:,} members, the most in one archive; split it into several"
    )


def unreadable(error: TransientError) -> MemberError:
    """The error of a member that storage did not give on any attempt."""
    return MemberError(MemberErrorCode.UNREADABLE, f"every attempt failed, the last so: {error}")
