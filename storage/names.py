"""What a member's name may say, and the file name that its crops get."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np
import numpy.typing as npt

from storage.errors import SkipReason

_IMAGES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".jxl", ".png", ".apng", ".webp"),
        *(".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif", ".ico"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".cr2", ".cr3", ".nef", ".arw", ".dng"),
        *(".orf", ".rw2", ".raf"),
    )
)
_ARCHIVES = frozenset(
    (
        *(".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz"),
        *(".zst", ".lz4", ".7z", ".rar", ".cab", ".iso", ".jar"),
    )
)
_SYSTEM_FILES = frozenset((".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"))
# Windows gives these names to devices in every folder, whatever extension follows
_RESERVED = frozenset(
    (
        *("con", "prn", "aux", "nul", "conin$", "conout$"),
        *(device + digit for device in ("com", "lpt") for digit in "0123456789¹²³"),
    )
)
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_NUMBERED = re.compile(r"~\d+\Z")
# leaves room for "~<index>_<rank>.<ext>" below the 255 bytes that file systems allow
_COMPONENT_BYTES = 200
_PATH_BYTES = 800
# macOS and S3 take no longer path. Headers do, up to a MiB, and such a name would be in memory and
# in the tables over and over; and to bring its accents in order takes time with their square.
_SHOWN_BEGIN, _SHOWN_END = 768, 255


def shortened(name: str) -> str:
    """The name, or its beginning and its end where it is longer than any file's can be."""
    if len(name) <= _SHOWN_BEGIN + 1 + _SHOWN_END:
        return name
    return f"{name[:_SHOWN_BEGIN]}…{name[-_SHOWN_END:]}"


def unsafe(name: str) -> str | None:
    """Says why a name could lead out of a folder it is put under, or None if it could not."""
    if "\0" in name:
        return "it contains a NUL character"
    path = name.replace("\\", "/")
    if path.startswith("//"):
        return "it is a network (UNC) path"
    if path.startswith("/"):
        return "it is an absolute path"
    if re.match(r"[A-Za-z]:", path):
        return "it has a drive letter"
    if ".." in path.split("/"):
        return 'it climbs out of its folder with ".."'
    return None


def skip_reason(name: str) -> SkipReason | None:
    """Tells by its name what nobody meant to hand in as an image; None for everything else."""
    folders, file = _split(name)
    if (
        "__MACOSX" in folders
        or file == "__MACOSX"
        or file.startswith("._")
        or file.lower() in _SYSTEM_FILES
    ):
        return SkipReason.SYSTEM_FILE
    if _extension(file) in _ARCHIVES:
        return SkipReason.NESTED_ARCHIVE
    return None


def looks_like_image(name: str) -> bool:
    """Whether the extension is that of an image format (read by Facecrop or not)."""
    return _extension(name) in _IMAGES


def fold(name: str) -> str:
    """The key under which two names are one file on some file system that crops may land on."""
    path = name.replace("\\", "/")
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def crop_stem(name: str, index: int, duplicate: bool) -> str:
    """The path below `crops/` that a member's crops start with: append `_<rank>.<ext>`.

    The member's own path wherever Windows, Linux and object stores all take it as it is. Whatever
    had to be changed, and every duplicate, ends in `~<index>`, so that no two members share one.

    Args:
        name: the member's path as the archive spells it.
        index: its place in the archive.
        duplicate: an earlier member has the same `fold(name)`.

    Returns:
        A relative path with `/`, at most about 830 UTF-8 bytes, no component above 220.
    """
    path = name.replace("\\", "/")
    folders, file = _split(path)
    file = _component(file)
    room = _PATH_BYTES - len(file.encode())
    kept = []
    for folder in map(_component, filter(None, folders)):
        room -= len(folder.encode()) + 2
        if room < 0:
            break
        # "a.jpg" may be a file's name next door, and no folder can have it then
        kept.append(folder + "_" if looks_like_image(folder) else folder)
    stem = "/".join([*kept, file])
    if duplicate or stem != path or _NUMBERED.search(path):
        stem += f"~{index}"
    return stem


def _split(name: str) -> tuple[list[str], str]:
    *folders, file = name.replace("\\", "/").split("/")
    return folders, file


def _extension(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot >= 0 else ""


def _component(text: str) -> str:
    """One component that every file system takes; the same text if it is one already."""
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text))
    if len(text.encode()) > _COMPONENT_BYTES:
        text = text.encode()[:_COMPONENT_BYTES].decode(errors="ignore")
    text = text.rstrip(". ") or "_"
    return "_" + text if text.split(".")[0].rstrip().lower() in _RESERVED else text


def digest(name: str) -> bytes:
    """Eight bytes that stand for `fold(name)`, the same in every process."""
    return hashlib.blake2b(fold(name).encode(errors="surrogatepass"), digest_size=8).digest()


def repeats(digests: bytes | bytearray) -> npt.NDArray[np.bool_]:
    """Marks every digest that came before.

    Args:
        digests: n digests of 8 bytes, one after the other, in order of index.

    Returns:
        n flags.
    """
    values = np.frombuffer(digests, np.uint64)
    again = np.ones(len(values), np.bool_)
    again[np.unique(values, return_index=True)[1]] = False
    return again
