"""Archives that people hand in and that Facecrop does not read, told by their first bytes."""

from __future__ import annotations

from storage.fs.location import RangeReader

_BEGINS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x1f\x9d": "compressed by compress (.Z)",
    b"\x1f\xa0": "compressed by SCO compress (.Z)",
    b"MSCF": "a Windows cabinet (.cab)",
    b"ISc(": "an InstallShield cabinet (.cab)",
    b"xar!": "a XAR archive",
    b"LZIP": "compressed by lzip (.lz)",
    b"\x89LZO\0\r\n\x1a\n": "compressed by lzop (.lzo)",
    b"\x02!L\x18": "LZ4 in its legacy format",
    b"!<arch>\n": "an ar archive",
    b"070701": "a cpio archive",
    b"070702": "a cpio archive",
    b"070707": "a cpio archive",
    b"MSWIM\0\0\0": "a Windows image (.wim)",
    b"StuffIt": "a StuffIt archive",
    b"SIT!": "a StuffIt archive",
    b"\x60\xea": "an ARJ archive",
    b"**ACE**": "an ACE archive",
    b"%PDF-": "a PDF document",
}
_AT = {
    (2, b"-lh"): "an LHA archive",
    (2, b"-lz"): "an LHA archive",
    (7, b"**ACE**"): "an ACE archive",
}
_ADVICE = "unpack it and hand in the folder, or pack it as ZIP or TAR"
_SPLIT = (b"PK\7\x08", b"PK00")  # APPNOTE 8.5.3 and 8.5.4
_ISO_AT, _ISO = 0x8001, (b"CD001", b"BEA01", b"NSR02", b"NSR03")  # ECMA-119 8.4.1, ECMA-167 2/9.1
_DMG_TRAILER, _DMG = 512, b"koly"  # Apple's UDIF: a trailer at the file's end


def foreign(reader: RangeReader, head: bytes) -> str | None:
    """Say of a file that is no archive that can be read what it is, and what to do.

    Args:
        reader: of the file.
        head: its first 512 bytes.

    Returns:
        The end of a sentence that begins with its name; None if nobody knows.

    Raises:
        TransientError: storage failed.
    """
    if head.startswith(_SPLIT):
        return "is one part of a split ZIP; join the parts into one file"
    kind = _kind(reader, head)
    return None if kind is None else f"is {kind}, which Facecrop does not read; {_ADVICE}"


def _kind(reader: RangeReader, head: bytes) -> str | None:
    for begins, kind in _BEGINS.items():
        if head.startswith(begins):
            return kind
    for (at, mark), kind in _AT.items():
        if head[at : at + len(mark)] == mark:
            return kind
    if reader.size >= _ISO_AT + 5 and reader.read(_ISO_AT, _ISO_AT + 5) in _ISO:
        return "the image of a disc (.iso)"
    end = reader.size - _DMG_TRAILER
    if end > 0 and reader.read(end, end + 4) == _DMG:
        return "a disk image of macOS (.dmg)"
    return None
