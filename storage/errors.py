"""What can go wrong between an archive and its output, and which of it is worth another try."""

from __future__ import annotations

from facecrop.errors import Code, FacecropError
from storage.fs.redact import shown


class MemberErrorCode(Code):
    """Why one member could not be read. Each is permanent except `unreadable`."""

    ENCRYPTED = "encrypted", "has a password"
    UNSUPPORTED_COMPRESSION = "unsupported_compression", "is packed by a method that is not read"
    CRC_MISMATCH = "crc_mismatch", "is damaged: its checksum is another"
    SIZE_MISMATCH = "size_mismatch", "is not as long as the archive declares"
    CORRUPT_ENTRY = "corrupt_entry", "has a header or compressed data that makes no sense"
    ARCHIVE_DAMAGED = "archive_damaged", "stands where the archive is damaged, or ends too early"
    TOO_LARGE = (
        "too_large",
        "is larger than `--limits-max-member-mib` allows, or `--limits-max-nested-mib` an archive "
        "in an archive",
    )
    MISSING = "missing", "is listed, but was gone when it was read"
    CHANGED = "changed", "is not the photograph in which its faces were found: crop it anew"
    WEB_PAGE = "web_page", "is an address that answers a page, such as a login, and no file"
    UNREADABLE = "unreadable", "could not be read on any attempt: the storage failed"


class SkipReason(Code):
    """Why a member is no image that anybody meant to hand in."""

    NOT_AN_IMAGE = "not_an_image", "is no image"
    SYSTEM_FILE = "system_file", "is a system's: `__MACOSX`, `._*`, `.DS_Store`, `Thumbs.db`"
    SYSTEM_FOLDER = (
        "system_folder",
        "lies in a waste basket, or among thumbnails and copies that a NAS, a system or a program "
        "keeps: `@eaDir`, `#recycle`, `$RECYCLE.BIN`, `.Trash-1000`, `.thumbnails`, "
        "`.picasaoriginals`, `*.lrdata` and others",
    )
    LINK = "link", "is a link: `--input-follow-links yes` follows those in a folder"
    SPECIAL_FILE = "special_file", "is a device, a pipe or a socket"
    NESTED_ARCHIVE = (
        "nested_archive",
        "is an archive deeper than `--input-nested`, or of a kind that is not opened",
    )
    NOT_WANTED = "not_wanted", "has faces, of which a recrop was asked for none"
    EMPTY_ARCHIVE = "empty_archive", "is an archive in an archive that holds nothing"
    FORGOTTEN = "forgotten", "was removed from the output, and is not to come back; it has no path"
    DUPLICATE = "duplicate", "has the same bytes as an earlier one, with `--dedupe exact`"


class MemberWarning(Code):
    """What was done with a doubt to a member that was read all the same."""

    NAME_CHANGED = "name_changed", "its crops go by another name than it has in the archive"


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
