"""Formats that are known and not read, so that a file is named for what it is.

Signatures are those of each format's own specification, or of PRONOM where that is not public.
"""

from __future__ import annotations

import re

_HEAD_BYTES = 1024  # in front of an SVG's first element stand declarations and comments
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"II\xbc", "JPEG XR"),
    (0, b"FLIF", "FLIF"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"8BPS\0\1", "Photoshop (PSD) of more than 8 bits a channel"),
    (0, b"8BPS\0\2", "Photoshop's large format (PSB)"),
    (0, b"gimp xcf ", "GIMP (XCF)"),
    (0, b"\0\0\1\0", "a Windows icon (ICO)"),
    (0, b"\0\0\2\0", "a Windows cursor (CUR)"),
    (0, b"icns", "a macOS icon (ICNS)"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"P7\n", "PAM"),
    (0, b"PF\n", "PFM"),
    (0, b"Pf\n", "PFM"),
    (0, b"\x8bJNG\r\n\x1a\n", "JNG"),
    (0, b"\x8aMNG\r\n\x1a\n", "MNG"),
    (0, b"DDS ", "DDS"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"AT&TFORM", "DjVu"),
    (128, b"DICM", "DICOM"),
    (0, b"%PDF-", "PDF"),
    (0, b"%!PS", "PostScript (EPS, AI)"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript (EPS, AI)"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (40, b" EMF", "EMF"),
    (4, b"ftyp", "a film (MP4, MOV)"),
    (4, b"moov", "a film (MOV)"),  # these three from before there was `ftyp`
    (4, b"mdat", "a film (MOV)"),
    (4, b"wide", "a film (MOV)"),
    (0, b"\x1a\x45\xdf\xa3", "a film (Matroska, WebM)"),
    (8, b"AVI ", "a film (AVI)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a film (WMV)"),
    (0, b"FLV\1", "a film (FLV)"),
    (0, b"\0\0\1\xba", "a film (MPEG)"),
    (0, b"\0\0\1\xb3", "a film (MPEG)"),
)
_XML = (b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")
_SVG = re.compile(rb"<(?:\w+:)?svg[\s>]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def unread_format(data: bytes | memoryview) -> str | None:
    """Name of the format of a file that `sniff` does not know; None where this does not either."""
    head = bytes(data[:_HEAD_BYTES])
    for at, mark, name in _SIGNATURES:
        if head.startswith(mark, at):
            return name
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    return "SVG" if text.startswith(_XML) and _SVG.search(text) else None
