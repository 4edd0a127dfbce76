"""What the errors of file systems mean, and which of them another try may mend.

Nothing is imported to name an error: what was never imported has raised none. Importing s3fs or
aiohttp takes a second, which a batch on local disks does not have to spend.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from storage.errors import ArchiveError, StorageError, TransientError
from storage.fs.redact import shown, shown_uri

_AWS = "botocore.exceptions"
_TRANSIENT_ERRNOS = frozenset(
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EIO", "EREMOTEIO", "ESTALE", "EBUSY", "EAGAIN", "EINTR"),
        *("ETIMEDOUT", "ENETUNREACH", "ENETDOWN", "EHOSTUNREACH", "EMFILE", "ENFILE", "EPIPE"),
    )
    if hasattr(errno, name)  # Windows has not all of them
)
# Its own codes say more than the number that Python makes of them: a file that another program has
# open (32, 33), such as a virus scanner, and a network share that is away (59, 64, 121).
_TRANSIENT_ON_WINDOWS = frozenset((32, 33, 59, 64, 121))
_LONGEST_ON_WINDOWS = 259  # characters of a path, where long ones are not enabled
_THROTTLED = frozenset(
    ("SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded")
)
_DENIED = (
    "A signed address may have expired, or a bucket policy or the server's own rules forbid it"
)
_FORBIDDEN = frozenset(
    ("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "AccessDenied")
)


def foreign() -> tuple[type[Exception], ...]:
    """The classes of errors that file systems raise.

    Catch these right around a call, and hand them to `translate`.
    """
    return (
        OSError,  # timeouts too: asyncio's and fsspec's are OSErrors since Python 3.11
        ValueError,
        *_imported("aiohttp", "ClientError"),
        *_imported(_AWS, "BotoCoreError", "ClientError"),
    )


@contextmanager
def translated(
    uri: str, doing: str, permanent: type[StorageError] = ArchiveError
) -> Iterator[None]:
    """Raise what file systems raise in this context as what it means; see `translate`."""
    try:
        yield
    except foreign() as error:
        raise translate(error, uri, doing, permanent) from error


def translate(
    error: Exception,
    uri: str,
    doing: str,
    permanent: type[StorageError] = ArchiveError,
) -> StorageError | TransientError:
    """Say in one line what a file system's error means, and whether to try again.

    Args:
        error: what fsspec, s3fs, botocore, aiohttp or the operating system raised.
        uri: what was being worked on.
        doing: the verb for the message: "open", "read", "write", "list".
        permanent: the class for errors that no second attempt mends.
    """
    causes = list(_causes(error))
    line = f"cannot {doing} {shown_uri(uri)}"
    detail = shown(" ".join(str(error).split()))[:200] or type(error).__name__
    for cause in causes:
        status, code = _answer(cause)
        if code in _THROTTLED or status in (408, 425, 429) or (status >= 500 and status != 501):
            return TransientError(f"{line}: the server says {code or status}")
        if status == 412 or code == "PreconditionFailed":
            return permanent(f"{line}: it has changed meanwhile; start a new batch for it")
        if status in (401, 403) or code in _FORBIDDEN:
            return permanent(
                f"{line}: permission denied ({code or status}); check the credentials. {_DENIED}"
            )
        if status in (404, 410) or code in ("NoSuchKey", "NoSuchBucket"):
            return permanent(f"{line}: not found; check the spelling of the address")
        if status:
            return permanent(f"{line}: the server refuses with {code or status}: {detail}")
    for cause in causes:
        if isinstance(cause, _imported("storage.fs.web", "RedirectError", "PageError")):
            return permanent(f"{line}: {cause}")
        if isinstance(cause, _imported("aiohttp", "TooManyRedirects")):
            return permanent(f"{line}: its server redirects again and again")
    if any(isinstance(cause, _imported(_AWS, "NoCredentialsError")) for cause in causes):
        return permanent(
            f"{line}: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    misaddressed = _imported("aiohttp", "InvalidURL", "ClientSSLError")
    if any(isinstance(cause, misaddressed) for cause in causes):
        return permanent(f"{line}: {detail}")
    if any(map(_is_transient, causes)):
        return TransientError(f"{line}: {detail}")
    if isinstance(error, FileNotFoundError):
        if sys.platform == "win32" and len(str(error.filename)) > _LONGEST_ON_WINDOWS:
            return permanent(
                f"{line}: Windows takes no path above {_LONGEST_ON_WINDOWS} characters here; "
                "enable long paths (LongPathsEnabled), or choose a folder with a shorter path"
            )
        return permanent(f"{line}: not found; check the spelling of the path")
    if isinstance(error, PermissionError):
        return permanent(f"{line}: permission denied; check who may access it")
    return permanent(f"{line}: {detail}")


def is_missing(error: Exception) -> bool:
    """Whether a file system's error says that there is no such file."""
    statuses = [status for status, _ in map(_answer, _causes(error)) if status]
    return statuses[0] in (404, 410) if statuses else isinstance(error, FileNotFoundError)


def is_page(error: Exception) -> bool:
    """Whether a web server answered a page instead of a file."""
    return isinstance(error, _imported("storage.fs.web", "PageError"))


def _is_transient(error: BaseException) -> bool:
    unreached: tuple[type[BaseException], ...] = (
        TimeoutError,
        ConnectionError,
        *_imported("aiohttp", "ClientError"),
        *_imported(_AWS, "ConnectionError", "HTTPClientError", "ResponseStreamingError"),
    )
    if isinstance(error, unreached):
        return True
    if getattr(error, "winerror", None) in _TRANSIENT_ON_WINDOWS:
        return True
    return isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _answer(error: Any) -> tuple[int, str]:
    """The HTTP status and the S3 code that an error carries; (0, "") for none."""
    if isinstance(error, _imported("aiohttp", "ClientResponseError")):
        return error.status, ""
    if isinstance(error, _imported(_AWS, "ClientError")):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code.isdigit():
            return status or int(code), ""
        return status, code
    return 0, ""


def _imported(module: str, *names: str) -> tuple[Any, ...]:
    """Classes of a module; none while it is not imported, or only being imported."""
    found = sys.modules.get(module)
    return tuple(getattr(found, name) for name in names if hasattr(found, name))
