"""What can go wrong between an archive and its output, and which of it is worth another try."""

from __future__ import annotations

from enum import StrEnum

from facecrop.errors import FacecropError
from storage.fs.redact import shown


class MemberErrorCode(StrEnum):
    """Why one member could not be read. Each is permanent except `unreadable`."""

    ENCRYPTED = "encrypted"
    UNSUPPORTED_COMPRESSION = "unsupported_compression"
    CRC_MISMATCH = "crc_mismatch"
    SIZE_MISMATCH = "size_mismatch"  # the data is not as long as the archive declares
    CORRUPT_ENTRY = "corrupt_entry"  # a header or a compressed stream that makes no sense
    ARCHIVE_DAMAGED = "archive_damaged"  # the archive is damaged here, or ends too early
    TOO_LARGE = "too_large"  # over the bound on one member's bytes
    MISSING = "missing"  # listed, but gone when it was read
    CHANGED = "changed"  # not the photograph in which its faces were found: to be cropped anew
    WEB_PAGE = "web_page"  # a listed address that answers a page, such as a login, and no file
    UNREADABLE = "unreadable"  # storage failed on every attempt


class SkipReason(StrEnum):
    """Why a member is no image that anybody meant to hand in."""

    NOT_AN_IMAGE = "not_an_image"
    SYSTEM_FILE = "system_file"  # __MACOSX, ._*, .DS_Store, Thumbs.db, desktop.ini
    SYSTEM_FOLDER = (
        "system_folder"  # in a waste basket, or thumbnails and copies that a program keeps
    )
    LINK = "link"
    SPECIAL_FILE = "special_file"  # device, pipe, socket
    NESTED_ARCHIVE = "nested_archive"
    NOT_WANTED = "not_wanted"  # it has faces, of which a recrop was asked for none
    EMPTY_ARCHIVE = "empty_archive"  # one within another that holds nothing
    FORGOTTEN = "forgotten"  # it was removed from the output, and is not to come back
    DUPLICATE = "duplicate"  # an earlier one has the same bytes, and is cropped


class MemberWarning(StrEnum):
    """What was done with a doubt to a member that was read all the same."""

    NAME_CHANGED = "name_changed"  # its crops go by another name than it has in the archive


class RedactedError(FacecropError):
    """What is wrong in one line, without the secrets of the URIs in it: logs and states keep it."""

    def __init__(self, line: str) -> None:
        super().__init__(shown(line))


class StorageError(RedactedError):
    """One clear line for a person, naming input and fix. Permanent: trying again is no use."""


class ArchiveError(StorageError):
    """The archive as a whole cannot be used: absent, forbidden, cut short, not one, changed."""


class EmptyError(ArchiveError):
    """There is nothing in the archive."""


class TooManyError(ArchiveError):
    """There are more members in the archive than the bound allows."""


class DamagedError(ArchiveError):
    """The archive is damaged or cut short from some place on; what stands before it is whole.

    Attributes:
        what: says so without naming the archive, as the end of a sentence that begins with it.
    """

    def __init__(self, uri: str, what: str, advice: str = "copy or download it again") -> None:
        super().__init__(f"{uri} {what}; {advice}")
        self.what = f"{what}; {advice}"


class OutputError(StorageError):
    """The output cannot be used: unwritable, or it holds another batch."""


class TransientError(RedactedError):
    """Storage did not answer as it should have; the same call may succeed later."""


class MemberError(FacecropError):
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


def too_many(uri: str, limit: int) -> TooManyError:
    """The error for an archive with more members than the bound."""
    return TooManyError(
        f"{uri} has more than {limit:,} members, the most in one archive; split it into several"
    )


def unreadable(error: TransientError) -> MemberError:
    """The error of a member that storage did not give on any attempt."""
    return MemberError(MemberErrorCode.UNREADABLE, f"every attempt failed, the last so: {error}")
