"""An XMP packet made fit to go along with a picture that is another than it was written for.

What it says of the picture's pixels is taken out, since they are others now: its orientation and
size, where in it people are, and that other pictures lie behind it; and so is each picture in it,
as that shows the whole photograph (XMP part 1, 7; part 2; MWG 2.0, 5.9).
"""

from __future__ import annotations

import re
from xml.dom import minidom
from xml.dom.minidom import Element, Node
from xml.parsers.expat import ExpatError

from detection.options import MOST_XMP_BYTES

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_OF_PIXELS = {
    *((_TIFF, name) for name in ("Orientation", "ImageWidth", "ImageLength")),
    *((_EXIF, name) for name in ("PixelXDimension", "PixelYDimension", "MakerNote")),
    *((_EXIF, name) for name in ("SubjectArea", "SubjectLocation")),
    ("http://ns.adobe.com/xap/1.0/", "Thumbnails"),
    ("http://ns.adobe.com/xmp/note/", "HasExtendedXMP"),
}
_OF_OTHER_PICTURES = (
    "http://www.metadataworkinggroup.com/schemas/regions/",
    "http://ns.microsoft.com/photo/1.2/",  # where people are
    "http://ns.google.com/photos/1.0/",  # depth, films and originals beside or in the picture
    "http://ns.adobe.com/hdr-gain-map/1.0/",
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.adobe.com/xap/1.0/g/img/",
)
_PICTURE = re.compile(r"[A-Za-z0-9+/]{400,}={0,2}")  # in base 64, without its blanks


class XmpError(Exception):
    """A packet makes no sense, or is more than is bearable."""


def cleaned(packet: bytes) -> bytes:
    """The same packet without what is of other pixels; empty where nothing is left.

    Args:
        packet: from the file, as it stands there.

    Raises:
        XmpError: it is no XML of the bounded kind that XMP is.
    """
    if len(packet) > MOST_XMP_BYTES:
        raise XmpError("too large")
    try:
        text = packet.decode().strip("\ufeff\0 \t\r\n")
        if "<!" in text.replace("<!--", ""):  # entities are declared so
            raise XmpError("a declaration")
        document = minidom.parseString(text.encode())
        root = document.documentElement
        if root is None or not _clean(root):
            return b""
        made = f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{root.toxml()}'
        return f'{made}<?xpacket end="w"?>'.encode()
    except (ExpatError, UnicodeError, ValueError, RecursionError, AttributeError) as error:
        raise XmpError(str(error)) from None


def _clean(element: Element) -> bool:
    """Take out what may not go along; whether a property is left in it."""
    left = False
    for attribute in list((element.attributes or {}).values()):
        if _is_unwanted(attribute.namespaceURI, attribute.localName) or _shows(attribute.value):
            element.removeAttributeNode(attribute)
        elif attribute.prefix not in (None, "xmlns", "rdf", "xml", "x"):
            left = True
    for child in list(element.childNodes):
        if child.nodeType == Node.ELEMENT_NODE:
            if _is_unwanted(child.namespaceURI, child.localName) or _shows(_text(child)):
                element.removeChild(child)
            else:
                left |= _clean(child) or child.namespaceURI not in (_RDF, "adobe:ns:meta/")
        elif child.nodeType != Node.TEXT_NODE:
            element.removeChild(child)
    return left


def _is_unwanted(namespace: str | None, name: str | None) -> bool:
    return (namespace, name) in _OF_PIXELS or (namespace or "").startswith(_OF_OTHER_PICTURES)


def _text(element: Element) -> str:
    """What stands in an element itself."""
    return "".join(node.data for node in element.childNodes if node.nodeType == Node.TEXT_NODE)


def _shows(text: str) -> bool:
    return len(text) > 400 and _PICTURE.fullmatch("".join(text.split())) is not None
