"""What goes along with a crop: what was asked for, and nothing else, whatever the file says."""

import struct
from io import BytesIO
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from detection.codecs.metadata import NOTHING, Carried
from detection.codecs.tags import TagsError, tags_of
from detection.codecs.xmp import XmpError, cleaned
from detection.errors import ImageWarning
from detection.image import crop_faces, make_detector
from detection.options import Metadata
from detection.result import Image as Found
from detection.settings import CutSettings, DetectionSettings
from tests.detection import camera
from tests.pictures import astronaut, bgr, encoded

DETECTION = DetectionSettings(profile="fast")
KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF")
FORMATS = ("jpg", "png", "webp")
UNREADABLE = ImageWarning.METADATA_UNREADABLE
GPS, DETAILS, TIME, RIGHTS, ORIENTATION = 0x8825, 0x8769, 0x9003, 0x8298, 0x0112


def cropped(data: bytes, **cut: object) -> Found:
    settings = CutSettings.model_validate({"size": 64, **cut})
    return crop_faces(data, make_detector(DETECTION), DETECTION, settings, 10**8)


@pytest.fixture(scope="module")
def photographs() -> dict[str, bytes]:
    return {kind: camera.photograph(astronaut(), kind) for kind in KINDS}


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_safe_copies_time_camera_and_rights_alone(
    kind: str, image_format: str, photographs: dict[str, bytes]
) -> None:
    [crop] = cropped(photographs[kind], format=image_format, metadata="safe").crops
    with Image.open(BytesIO(crop.data)) as image:
        image.load()
        tags = image.getexif()
        details = tags.get_ifd(DETAILS)
        assert tags[RIGHTS] == camera.RIGHTS
        assert tags[0x0110] == camera.CAMERA
        assert details[TIME] == camera.TIME
        assert details[0x9010] == "+02:00"
        assert details[0x920A] == 50
        assert details[0xA434] == "Lens 50"
        assert (tags[ORIENTATION], details[0xA002], details[0xA003]) == (1, 64, 64)
        assert not tags.get_ifd(GPS)
        assert "xmp" not in image.info
    for secret in (*camera.SECRETS, camera.thumbnail(), b"REGION", b"XMP-RIGHTS"):
        assert secret not in crop.data


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_all_copies_the_place_and_xmp_and_no_picture(
    kind: str, image_format: str, photographs: dict[str, bytes]
) -> None:
    [crop] = cropped(photographs[kind], format=image_format, metadata="all").crops
    with Image.open(BytesIO(crop.data)) as image:
        image.load()
        tags = image.getexif()
        assert tags.get_ifd(GPS)[2] == (48, 12, 77.7)
        assert tags.get_ifd(DETAILS)[0xA431] == "SERIAL-7"
        assert (tags[ORIENTATION], tags.get_ifd(DETAILS)[0xA002]) == (1, 64)
        packet = image.info["xmp"]
        packet = packet.encode() if isinstance(packet, str) else packet
    assert b"XMP-RIGHTS" in packet
    assert b'xmp:Rating="5"' in packet
    for unwanted in (b"tiff:Orientation", b"Thumbnails", b"g:Data", b"REGION-7"):
        assert unwanted not in packet
    for unwanted in (b"NOTE-7", camera.thumbnail()):
        assert unwanted not in crop.data


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_what_a_photograph_without_any_gives(
    kind: str, photographs: dict[str, bytes]
) -> None:
    [crop] = cropped(photographs[kind], metadata="none").crops
    assert b"Exif" not in crop.data
    [other] = cropped(photographs[kind], metadata="all").crops
    first, second = (Image.open(BytesIO(one.data)).tobytes() for one in (crop, other))
    assert first == second


@pytest.mark.parametrize("order", "<>")
def test_a_crop_is_upright_whatever_the_photograph_said(order: str) -> None:
    turned = astronaut().transpose(Image.Transpose.ROTATE_90)
    data = camera.photograph(turned, "JPEG", block=camera.exif(6, order), packet=camera.xmp(6))
    [crop] = cropped(data, metadata="all").crops
    with Image.open(BytesIO(crop.data)) as image:
        assert image.getexif()[ORIENTATION] == 1
        assert image.getexif().get_ifd(DETAILS)[TIME] == camera.TIME
        assert b"Orientation" not in image.info["xmp"]


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_profile_goes_beside_it(image_format: str) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"sRGB", b"sRGX")
    sink = BytesIO()
    astronaut().save(sink, "JPEG", exif=b"Exif\0\0" + camera.exif(), icc_profile=profile)
    one = cropped(sink.getvalue(), format=image_format, metadata="safe", color="keep")
    with Image.open(BytesIO(one.crops[0].data)) as image:
        image.load()
        colours = image.getexif().get_ifd(DETAILS)[0xA001]
        assert ("icc_profile" in image.info) == (colours == 0xFFFF)
        assert image.getexif()[RIGHTS] == camera.RIGHTS


def hostile() -> dict[str, bytes]:
    """Blocks that lie; the time of what is read of them is bounded."""
    sound = camera.exif()
    at = sound.index(struct.pack("<HH", DETAILS, 4))
    directory = struct.pack("<2sHIH", b"II", 42, 8, 1)
    return {
        "nothing": b"II*\0",
        "a directory behind the end": struct.pack("<2sHI", b"II", 42, 1 << 31) + bytes(16),
        "a directory in itself": sound[: at + 8] + struct.pack("<I", 8) + sound[at + 12 :],
        "details behind the end": sound[: at + 8] + struct.pack("<I", 1 << 30) + sound[at + 12 :],
        "a count of 2 ** 32": directory + struct.pack("<HHII", RIGHTS, 2, 0xFFFFFFFF, 0) + bytes(9),
        "a value astray": directory + struct.pack("<HHII", RIGHTS, 2, 99, 1 << 30) + bytes(9),
        "a name of a type of its own": directory + struct.pack("<HHI4s", RIGHTS, 7, 4, b"AAAA")
        + bytes(9),
        "65,535 entries": struct.pack("<2sHIH", b"II", 42, 8, 0xFFFF)
        + struct.pack("<HHII", RIGHTS, 2, 8, 8) * 4000,
        "text instead": b"<html>" * 100,
    }  # fmt: skip


@pytest.mark.parametrize("name", hostile())
@pytest.mark.parametrize("level", ["safe", "all"])
def test_hostile_exif_costs_itself_alone(name: str, level: str) -> None:
    block = hostile()[name]
    data = camera.photograph(astronaut(), "JPEG", block=block, packet=b"<x/>")
    found = cropped(data, metadata=level)
    assert len(found.crops) == 1
    told = UNREADABLE in found.warnings
    # types are checked of what is published, and a directory may be read as another
    assert told or (level, name) == ("all", "a name of a type of its own") or "itself" in name


LAUGHS = b'<!DOCTYPE a [<!ENTITY b "%s">]><a>&b;</a>' % (b"x" * 10_000)


@pytest.mark.parametrize(
    "packet",
    [
        LAUGHS, b"<a>" * 15_000, b"<a", b"\xff\xfe<\0a\0/\0>\0", b"<a>" + b"x" * 70_000 + b"</a>",
        b"<a>" * 8000 + b"</a>" * 8000,
    ],
    ids=["entities", "no end", "cut off", "utf-16", "too large", "too deep"],
)  # fmt: skip
def test_hostile_xmp_costs_itself_alone(packet: bytes) -> None:
    with pytest.raises(XmpError):
        cleaned(packet)


def test_what_is_too_long_is_left_out_and_told() -> None:
    image = Image.Exif()
    image[RIGHTS] = "c" * 30_000
    image[0x013B] = "A"
    doubts: set[ImageWarning] = set()
    data = encoded(astronaut(64), "JPEG", exif=image.tobytes())
    along = Carried(data, "all", doubts).along(64, 64, profile=False)
    assert doubts == {UNREADABLE}
    assert b"ccc" not in along.exif
    assert tags_of(along.exif, "all").main.keys() == {0x013B}


@pytest.mark.parametrize("level", ["safe", "all"])
@given(data=st.binary(max_size=400), order=st.sampled_from([b"II*\0", b"MM\0*", b""]))
@settings(max_examples=150, deadline=None)
def test_no_bytes_make_it_raise(level: Metadata, data: bytes, order: bytes) -> None:
    try:
        block = tags_of(order + data, level if level != "none" else "safe").block(1, 1)
    except TagsError:
        return
    # what it writes is what it reads
    assert tags_of(block, "all").block(1, 1) == block


@given(at=st.integers(0, 900), damage=st.binary(min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_no_damage_to_a_real_block_brings_out_a_secret(at: int, damage: bytes) -> None:
    block = camera.exif()
    broken = block[:at] + damage + block[at + len(damage) :]
    try:
        made = tags_of(broken, "safe").block(1, 1)
    except TagsError:
        return
    assert camera.thumbnail()[:40] not in made


def test_a_photograph_without_any_gives_none() -> None:
    assert (
        Carried(encoded(astronaut(64), "PNG"), "all", set()).along(1, 1, profile=False) == NOTHING
    )


def test_a_large_file_of_lies_is_read_in_no_time() -> None:
    entry = struct.pack("<HHII", RIGHTS, 2, 1 << 27, 8)
    data = struct.pack("<2sHIH", b"II", 42, 8, 0xFFFF) + entry * 0xFFFF + bytes(1 << 27)
    started = process_time()
    assert not tags_of(data, "all").complete
    assert process_time() - started < 5


def test_pixels_are_those_of_before(photographs: dict[str, bytes]) -> None:
    with_all = cropped(photographs["PNG"], format="png", metadata="all").crops[0]
    without = cropped(photographs["PNG"], format="png").crops[0]
    pictures = [Image.open(BytesIO(one.data)).convert("RGB") for one in (with_all, without)]
    assert (bgr(pictures[0]) == bgr(pictures[1])).all()
