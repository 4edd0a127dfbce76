"""What a member's name may say, and the file name that its crops get."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numpy as np
import numpy.typing as npt

from storage.errors import SkipReason
from storage.fs.redact import HIDDEN

_IMAGES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".jxl", ".png", ".apng", ".webp"),
        *(".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif", ".ico"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".cr2", ".cr3", ".nef", ".arw", ".dng"),
        *(".orf", ".rw2", ".raf", ".psd", ".psb", ".xcf", ".jxr", ".wdp", ".hdp", ".heics"),
        *(".heifs", ".avifs", ".j2c", ".jpc", ".jpf", ".jpx", ".pcx", ".sgi", ".qoi", ".exr"),
        *(".hdr", ".bpg", ".flif", ".icns", ".cur", ".pam", ".pfm", ".dcm"),
        *(".nrw", ".crw", ".sr2", ".srf", ".pef", ".srw", ".3fr", ".fff", ".iiq", ".x3f"),
        *(".mrw", ".rwl", ".erf", ".kdc", ".dcr", ".mef", ".mos", ".gpr"),
    )
)
_ARCHIVES = frozenset(
    (
        *(".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz"),
        *(".zst", ".lz4", ".7z", ".rar", ".cab", ".iso", ".jar"),
    )
)
# Of these some can be opened; what else ends so is told by its first bytes.
NESTED = (
    *(".zip", ".tar", ".tgz", ".tar.gz", ".tbz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz"),
    *(".tzst", ".tar.zst", ".tar.lz4"),
)
_IN_NESTED = re.compile(rf"(?:{'|'.join(map(re.escape, NESTED))})[/\\]", re.IGNORECASE)
_SYSTEM_FILES = frozenset(
    (".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", ".picasa.ini")
)
# Whose members nobody means to hand in, in small letters: what was thrown away, and thumbnails and
# copies that a program keeps beside the photographs.
_SYSTEM_FOLDERS = frozenset(
    (
        # NAS: Synology, QNAP, Asustor, Western Digital, Buffalo, Samba; snapshots of them
        *("@eadir", "#recycle", "#snapshot", "@tmp", "@sharebin", "@recycle", ".@__thumb"),
        *("@__thumb", ".@__desc", "@recently-snapshot", "recycle bin", ".wdmc", ".wdcache"),
        *("trashbox", ".recycle", ".recycle_bin", ".snapshot", ".snapshots", "~snapshot", ".zfs"),
        # Windows
        *("$recycle.bin", "recycler", "recycled", "system volume information"),
        # macOS
        *(".trash", ".trashes", ".spotlight-v100", ".fseventsd", ".temporaryitems", ".appledb"),
        *(".documentrevisions-v100", ".appledouble", ".appledesktop", "network trash folder"),
        *("temporary items", "thevolumesettingsfolder", "ipod photo cache", ".mobilebackups"),
        # Linux, Android, Nextcloud
        *(".thumbnails", ".thumbs", ".thumb", ".thumbcache", ".xvpics", ".cache", "lost+found"),
        *(".globaltrash", ".dtrash", "files_trashbin", ".dropbox.cache"),
        # Picasa
        *(".picasaoriginals", ".picasatemp"),
    )
)
_SYSTEM_BEGINS = ".trash-"  # with the number of a user, freedesktop.org's Trash specification
_SYSTEM_ENDS = (".lrdata", ".lrcat-data", ".cocatalogdb")  # Lightroom, Capture One
_LIBRARY_ENDS = (".photoslibrary", ".photolibrary", ".migratedphotolibrary")
_LIBRARY_FOLDERS = frozenset(
    ("resources", "database", "private", "internal", "scopes", "thumbnails", "external")
)
# Windows gives these names to devices in every folder, whatever extension follows
_RESERVED = frozenset(
    (
        *("con", "prn", "aux", "nul", "conin$", "conout$"),
        *(device + digit for device in ("com", "lpt") for digit in "0123456789¹²³"),
    )
)
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_NUMBERED = re.compile(r"~\d+\Z")
_NUMBERED_FILE = re.compile(r"~\d+\.[^./]*\Z")
_EXTENSIONS = {
    "jpg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png",),
    "webp": (".webp",),
    "tif": (".tif", ".tiff"),
}
# leaves room for "~<index>_<rank>.<ext>" below the 255 bytes that file systems allow
COMPONENT_BYTES = 200
PATH_BYTES = 800
# macOS and S3 take no longer path. Headers do, up to a MiB, and such a name would be in memory and
# in the tables over and over; and to bring its accents in order takes time with their square.
_SHOWN_BEGIN, _SHOWN_END = 768, 255


def shortened(name: str) -> str:
    """The name, or its beginning and its end where it is longer than any file's can be."""
    if len(name) <= _SHOWN_BEGIN + 1 + _SHOWN_END:
        return name
    return f"{name[:_SHOWN_BEGIN]}…{name[-_SHOWN_END:]}"


def is_changed(name: str) -> bool:
    """Whether crops go by a name that reads otherwise: absolute, climbing, with a NUL, too long.

    How accents are composed, "./" before it, and a number that tells namesakes apart make no
    difference.
    """
    path = unicodedata.normalize("NFC", name.replace("\\", "/"))
    while path.startswith("./"):
        path = path.removeprefix("./")
    return _safe(path) != path


def skip_reason(name: str, *, system: bool = True) -> SkipReason | None:
    """Tell by its name what nobody meant to hand in as an image; None for everything else.

    Args:
        name: the member's path.
        system: whether waste baskets and the folders that programs keep are such.
    """
    folders, file = split(name)
    if system and folders and _is_system(folders):
        return SkipReason.SYSTEM_FOLDER
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


def _is_system(folders: list[str]) -> bool:
    before = ""
    for folder in map(str.lower, folders):
        if (
            folder in _SYSTEM_FOLDERS
            or folder.startswith(_SYSTEM_BEGINS)
            or folder.endswith(_SYSTEM_ENDS)
            or (folder in _LIBRARY_FOLDERS and before.endswith(_LIBRARY_ENDS))
        ):
            return True
        before = folder
    return False


def nests(name: str) -> bool:
    """Whether it is named like an archive that can be opened where it is a member of another."""
    named = split(name)[1].lower().endswith(NESTED)
    return named and skip_reason(name) is SkipReason.NESTED_ARCHIVE


def lies_in_nested(name: str) -> bool:
    """Whether a folder of its path is called like an archive that can be opened."""
    return _IN_NESTED.search(name) is not None


def looks_like_image(name: str) -> bool:
    """Whether the extension is that of an image format (read by Facecrop or not)."""
    return _extension(split(name)[1]) in _IMAGES


def fold(name: str) -> str:
    """The key under which two names are one file on some file system that crops may land on."""
    path = name.replace("\\", "/")
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def crop_stem(name: str, index: int, duplicate: bool, taken: str = "") -> str:
    """The path below `crops/` that a member's crops start with: append `_<rank>.<ext>`.

    The member's own path wherever Windows, Linux and object stores all take it as it is. Whatever
    had to be changed, and every duplicate, ends in `~<index>`, so that no two members share one.

    Args:
        name: the member's path as the archive spells it.
        index: its place in the archive.
        duplicate: an earlier member has the same `fold(name)`.
        taken: a folder that no member's crops may lie in, whatever it is called.

    Returns:
        A relative path with `/`, at most about 830 UTF-8 bytes, no component above 220.
    """
    path = name.replace("\\", "/")
    stem = _safe(path)
    if taken and lies_in(name, taken):
        stem = f"_{stem}"
    if duplicate or stem != path or _NUMBERED.search(path):
        stem += f"~{index}"
    return stem


def lies_in(name: str, folder: str) -> bool:
    """Whether a member's crops would lie in this folder, on one file system or another."""
    return fold(_safe(name.replace("\\", "/"))).startswith(f"{folder}/")


def photo_name(stem: str, index: int, extension: str) -> str:
    """The path below `photos/` of a member's photograph.

    Its own where that ends as its format does, else with `~<index>` and the extension behind it. No
    own path ends in a number like that, so that no two photographs share one.

    Args:
        stem: of the member, by `crop_stem`.
        index: its place in the archive.
        extension: of the format that is written: jpg, png, webp or tif.
    """
    fits = _extension(stem) in _EXTENSIONS[extension] and not _NUMBERED_FILE.search(stem)
    if fits:
        return stem
    numbered = stem if stem.endswith(f"~{index}") else f"{stem}~{index}"
    return f"{numbered}.{extension}"


def _safe(path: str) -> str:
    """The path if Windows, Linux and object stores all take it as it is, else one like it."""
    folders, file = split(path)
    file = component(file)
    room = PATH_BYTES - len(file.encode())
    kept = []
    for folder in map(component, (one for one in folders if one not in ("", "."))):
        room -= len(folder.encode()) + 2
        if room < 0:
            break
        kept.append(folder_component(folder))
    return "/".join([*kept, file])


def split(name: str) -> tuple[list[str], str]:
    """A path's folders and its file."""
    path = name.removesuffix(f"?{HIDDEN}").removesuffix(f"#{HIDDEN}")  # no part of a file's name
    *folders, file = path.replace("\\", "/").split("/")
    return folders, file


def _extension(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot >= 0 else ""


def component(text: str) -> str:
    """One component that every file system takes; the same text if it is one already."""
    text = FORBIDDEN.sub("_", unicodedata.normalize("NFC", text))
    text = cut_to(text, COMPONENT_BYTES)
    text = text.rstrip(". ") or "_"
    return "_" + text if text.split(".")[0].rstrip().lower() in _RESERVED else text


def folder_component(folder: str) -> str:
    """A component as a folder's: "a.jpg" may be a file next door, and no folder has it then."""
    return folder + "_" if looks_like_image(folder) else folder


def cut_to(text: str, most: int) -> str:
    """The text, or its beginning of so many UTF-8 bytes."""
    data = text.encode(errors="surrogatepass")
    return text if len(data) <= most else data[:most].decode(errors="ignore")


def digest(name: str) -> bytes:
    """Eight bytes that stand for `fold(name)`, the same in every process."""
    return hashlib.blake2b(fold(name).encode(errors="surrogatepass"), digest_size=8).digest()


def repeats(digests: bytes | bytearray) -> npt.NDArray[np.bool_]:
    """Mark every digest that came before.

    Args:
        digests: n digests of 8 bytes, one after the other, in order of index.

    Returns:
        n flags.
    """
    values = np.frombuffer(digests, np.uint64)
    again = np.ones(len(values), np.bool_)
    again[np.unique(values, return_index=True)[1]] = False
    return again
