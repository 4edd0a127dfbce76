"""One member of a ZIP: whether its data is read at all, and its content, checked as it inflates."""

from __future__ import annotations

import struct

from isal import isal_zlib

from storage.archives.members import Limits
from storage.archives.unpack import METHODS
from storage.archives.zipdirectory import Columns
from storage.errors import MemberError, MemberErrorCode, SkipReason, too_large
from storage.output.names import skip_reason

LOCAL = struct.Struct("<4s5H3L2H")  # the header before a member's data, APPNOTE 4.3.7

_UNREAD = {
    **{1: "shrink", 2: "reduce", 3: "reduce", 4: "reduce", 5: "reduce", 6: "implode"},
    **{10: "PKWARE implode", 16: "CMPSC", 18: "TERSE", 19: "LZ77", 94: "MP3"},
    **{96: "JPEG variant", 97: "WavPack", 98: "PPMd", 99: "AE-x (AES)"},
}  # APPNOTE 4.4.5
_UNIX_HOSTS = (3, 19)  # APPNOTE 4.4.2: UNIX, OS X


def _link_or_special(rows: Columns, row: int) -> SkipReason | None:
    if int(rows.made_by[row]) >> 8 not in _UNIX_HOSTS:
        return None
    kind = int(rows.external[row]) >> 28  # the file type bits of st_mode
    if kind == 0o12:
        return SkipReason.LINK
    return SkipReason.SPECIAL_FILE if kind in (0o1, 0o2, 0o6, 0o14) else None


def refusal(
    rows: Columns, row: int, name: str, overlaps: bool, limits: Limits
) -> SkipReason | MemberError | None:
    """Why a member's data is not read, as far as the directory alone shows."""
    reason = _link_or_special(rows, row) or skip_reason(name, system=limits.skip_system)
    if reason is not None:
        return reason
    if overlaps:
        return _nonsense("it claims bytes of the archive that another member has already")
    flags, method = int(rows.flags[row]), int(rows.method[row])
    size = max(int(rows.size[row]), int(rows.stored[row]))
    if size > limits.member_bytes:
        return too_large(size, limits.member_bytes)
    if flags & 0x2041 or method == 99:  # bits 0, 6 and 13: encrypted, strongly, with its directory
        return MemberError(
            MemberErrorCode.ENCRYPTED, "it is encrypted; unpack it with its password first"
        )
    if method not in METHODS:
        label = _UNREAD.get(method, "unknown")
        return MemberError(
            MemberErrorCode.UNSUPPORTED_COMPRESSION,
            f"it is compressed with {label} (method {method}); repack it with deflate",
        )
    if flags & 0x20:
        return MemberError(
            MemberErrorCode.UNSUPPORTED_COMPRESSION, "it is a patch, not a whole file"
        )
    return None


def content(view: memoryview, rows: Columns, row: int) -> bytes | memoryview:
    """Check the local header at the start of `view` and return the member's content."""
    if len(view) < LOCAL.size or bytes(view[:4]) != b"PK\3\4":
        raise _nonsense("there is no header where the directory says that it begins")
    _, _, flags, method, _, _, _, _, _, name, extra = LOCAL.unpack_from(view)
    if flags & 1:
        raise MemberError(
            MemberErrorCode.ENCRYPTED, "it is encrypted; unpack it with its password first"
        )
    if method != rows.method[row]:
        raise _nonsense("its header and the directory disagree on the compression")
    stored, size = int(rows.stored[row]), int(rows.size[row])
    begin = LOCAL.size + name + extra
    raw = view[begin : begin + stored]
    if len(raw) < stored:
        raise _nonsense("its data runs into what follows it in the archive")
    data = METHODS[method](raw, size, flags)
    if len(data) != size:
        relation = "more than" if len(data) > size else f"{len(data)} instead of"
        raise MemberError(
            MemberErrorCode.SIZE_MISMATCH, f"it has {relation} the {size} bytes it declares"
        )
    if isal_zlib.crc32(data) != rows.crc[row]:
        raise MemberError(
            MemberErrorCode.CRC_MISMATCH, "its content does not match its checksum: it is damaged"
        )
    return data


def _nonsense(what: str) -> MemberError:
    return MemberError(MemberErrorCode.CORRUPT_ENTRY, what)
