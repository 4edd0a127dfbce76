"""Photographs with their faces covered: nothing of a face is left, and all else is as it was."""

import struct
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin

from detection.codecs.bare import bare
from detection.cover import CELLS, REACH, cover_faces
from detection.detectors.base import Faces
from detection.errors import ImageError, ImageErrorCode, ImageWarning
from detection.image import crop_faces, make_detector
from detection.options import Cover
from detection.result import Image as Found
from detection.settings import CutSettings, DetectionSettings
from tests.detection import camera
from tests.pictures import astronaut, bgr, coffee, encoded, group

DETECTION = DetectionSettings(profile="fast")
COVERS: tuple[Cover, ...] = ("blur", "pixelate", "mask")
CONVERTED = ImageWarning.CONVERTED
ORIENTATION = 0x0112


def covered(data: bytes, how: Cover = "blur", max_pixels: int = 10**8, **cut: Any) -> Found:
    options = DETECTION, CutSettings(**cut), max_pixels, 3072, how
    return crop_faces(data, make_detector(DETECTION), *options)


def pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(data)) as image:
        return bgr(image.convert("RGB"))


def ellipse(found: Found, margin: float = 1.0) -> NDArray[np.bool_]:
    """Where the faces were, in the upright picture; with a margin, more than that."""
    inside = np.zeros((found.height, found.width), np.bool_)
    across, down = np.meshgrid(np.arange(found.width) + 0.5, np.arange(found.height) + 0.5)
    for crop in found.crops:
        x, y, w, h = crop.box
        reach = REACH / 2 * margin
        inside |= ((across - x - w / 2) / (w * reach)) ** 2 + (
            (down - y - h / 2) / (h * reach)
        ) ** 2 <= 1
    return inside


def detail(picture: NDArray[np.uint8], face: float) -> NDArray[np.float64]:
    """What is finer than a cell: by that people are told apart."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float64)
    return grey - cv2.GaussianBlur(grey, (0, 0), face / CELLS / 4)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    error = (one[where].astype(float) - other[where].astype(float)) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-12)))


@pytest.fixture(scope="module")
def several() -> Image.Image:
    return group((300, 200), (700, 320))


@pytest.mark.parametrize("how", COVERS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_nothing_fine_of_a_face_is_left_and_all_else_is_as_it_was(
    kind: str, how: Cover, several: Image.Image
) -> None:
    data = encoded(several, kind, **({"quality": 90} if kind in ("JPEG", "WEBP") else {}))
    found = covered(data, how)
    assert len(found.crops) == 2
    before, after = pixels(data), pixels(found.photo)
    assert after.shape == before.shape
    outside = ~ellipse(found, 1.03)
    if kind in ("PNG", "TIFF"):
        assert (after[outside] == before[outside]).all()
    else:
        assert psnr(before, after, ~ellipse(found, 1.5)) > (45 if kind == "JPEG" else 36)
    for crop in found.crops:
        x, y, w, h = (round(value) for value in crop.box)
        face = np.s_[y : y + h, x : x + w]
        one, other = (detail(one, max(w, h))[face].ravel() for one in (before, after))
        assert one.std() > 4
        related = np.corrcoef(one, other)[0, 1] if other.std() > 0.5 else 0.0
        assert abs(related) < 0.3
        # and what is finer than a cell is gone altogether
        fine = cv2.Laplacian(cv2.cvtColor(after[face], cv2.COLOR_BGR2GRAY), cv2.CV_64F)
        if how != "pixelate":
            was = cv2.Laplacian(cv2.cvtColor(before[face], cv2.COLOR_BGR2GRAY), cv2.CV_64F)
            assert np.abs(fine[4:-4, 4:-4]).mean() < np.abs(was[4:-4, 4:-4]).mean() / 2


@pytest.mark.parametrize("how", COVERS)
def test_a_face_becomes_a_few_numbers_whatever_its_size(how: Cover) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (900, 900, 3), np.uint8)
    for side in (20, 100, 500):
        picture = noise.copy()
        cover_faces(picture, np.array([[200, 200, side, side]], np.float32), how)
        face = picture[200 : 200 + side, 200 : 200 + side]
        few = cv2.resize(face, (2 * CELLS, 2 * CELLS), interpolation=cv2.INTER_AREA)
        again = cv2.resize(few, (side, side), interpolation=cv2.INTER_CUBIC)
        assert np.abs(again.astype(int) - face).mean() < 12
        assert (picture != noise).any(axis=2)[199, 199 + side // 2]  # past the box
        far = max(0, 200 - side)
        assert (picture[:far] == noise[:far]).all()
        if how == "mask":
            assert not face.any()


def test_faces_at_the_edge_and_past_it_are_covered() -> None:
    picture = np.full((50, 60, 3), 200, np.uint8)
    boxes = np.array([[-20, -20, 40, 40], [55, 45, 100, 100], [500, 500, 9, 9]], np.float32)
    cover_faces(picture, boxes, "mask")
    assert not picture[:20, :20].any()
    assert not picture[-3:, -3:].any()
    assert (picture[25, :20] == 200).any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pixels_stay_as_they_are_stored(kind: str, orientation: int) -> None:
    data = encoded(astronaut(), kind, orientation)
    found = covered(data, "mask")
    assert len(found.crops) == 1
    with Image.open(BytesIO(found.photo)) as made:
        assert pixels(found.photo).shape == pixels(data).shape
        assert made.getexif().get(ORIENTATION, 1) == orientation
        upright = bgr(ImageOps.exif_transpose(made).convert("RGB"))
    x, y, w, h = found.crops[0].box
    assert upright[int(y + h / 2), int(x + w / 2)].max() < 8
    assert psnr(upright, bgr(astronaut()), ~ellipse(found, 1.5)) > 33


@pytest.mark.parametrize("face", [True, False], ids=["face", "no face"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
@pytest.mark.parametrize("level", ["none", "safe", "all"])
def test_metadata_goes_by_its_rule_and_previews_never(kind: str, level: str, face: bool) -> None:
    data = camera.photograph(astronaut() if face else coffee(), kind)
    found = covered(data, metadata=level)
    assert bool(found.crops) == face
    for unwanted in (b"NOTE-7", camera.thumbnail(), b"REGION-7", b"Thumbnails"):
        assert unwanted not in found.photo
    with Image.open(BytesIO(found.photo)) as made:
        made.load()
        tags = made.getexif()
        assert (tags.get(0x8298) == camera.RIGHTS) == (level != "none")
        assert bool(tags.get_ifd(0x8825)) == (level == "all")
        assert ("xmp" in made.info or 700 in tags) == (level == "all")
    if level != "all":
        for secret in camera.SECRETS:
            assert secret not in found.photo
    assert (CONVERTED in found.warnings) == (kind == "HEIF")
    assert found.photo_format == {"JPEG": "jpg", "HEIF": "jpg", "TIFF": "tif"}.get(
        kind, kind.lower()
    )


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_a_tiff_has_all_that_goes_along_however_it_is_compressed(
    compression: str | None, order: str, mode: str
) -> None:
    tags = Image.Exif()
    tags.load(camera.exif(order=order))
    image = astronaut().convert(mode)
    # libtiff writes no directories beside the first
    more = tags if compression is None else {0x8298: camera.RIGHTS}
    data = encoded(image, "TIFF", compression=compression, tiffinfo=more)
    found = covered(data, "mask", metadata="all")
    outside = ~ellipse(found, 1.03)
    assert (pixels(found.photo)[outside] == pixels(data)[outside]).all()
    with Image.open(BytesIO(found.photo)) as made:
        assert made.getexif()[0x8298] == camera.RIGHTS
        assert (made.mode, made.info["compression"]) == (
            mode,
            "raw" if compression is None else "tiff_adobe_deflate",
        )
    assert cv2.imdecode(np.frombuffer(found.photo, np.uint8), cv2.IMREAD_COLOR) is not None
    assert CONVERTED not in found.warnings


@pytest.mark.parametrize("face", [True, False], ids=["face", "no face"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
def test_its_profile_is_kept(kind: str, face: bool) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(astronaut() if face else coffee(), kind, icc_profile=profile)
    with Image.open(BytesIO(covered(data).photo)) as made:
        assert made.info["icc_profile"] == profile


def modes() -> dict[str, Image.Image]:
    """Pictures of a face, of each kind that a PNG has."""
    face = astronaut()
    alpha = face.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(face.size))
    deep = Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257)
    return {
        "L": face.convert("L"), "LA": alpha.convert("LA"), "RGB": face, "RGBA": alpha,
        "P": face.quantize(256), "P with alpha": alpha.quantize(256), "I;16": deep,
    }  # fmt: skip


@pytest.mark.parametrize("name", modes())
def test_a_png_of_any_kind_is_exactly_the_same_elsewhere(name: str) -> None:
    image = modes()[name]
    data = encoded(image, "PNG")
    found = covered(data, "mask")
    assert len(found.crops) == 1
    one, other = (
        cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
        for file in (data, found.photo)
    )
    assert one is not None
    assert other is not None
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    outside = ~ellipse(found, 1.03)
    assert (one[outside] == other[outside]).all()
    if one.ndim == 3 and one.shape[2] == 4:
        assert (one[..., 3] == other[..., 3]).all()
    assert CONVERTED not in found.warnings


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [60, 85, 97])
def test_a_jpeg_is_coded_as_it_was(quality: int, subsampling: int) -> None:
    data = encoded(astronaut(), "JPEG", quality=quality, subsampling=subsampling)
    found = covered(data)
    with Image.open(BytesIO(data)) as one, Image.open(BytesIO(found.photo)) as other:
        assert isinstance(one, JpegImagePlugin.JpegImageFile)
        assert isinstance(other, JpegImagePlugin.JpegImageFile)
        assert one.quantization == other.quantization
        assert JpegImagePlugin.get_sampling(other) == subsampling
    assert 0.7 < len(found.photo) / len(data) < 1.1


def test_a_grey_jpeg_stays_grey() -> None:
    with Image.open(BytesIO(covered(encoded(astronaut().convert("L"), "JPEG")).photo)) as made:
        assert made.mode == "L"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_without_a_face_the_coded_picture_is_taken_over(kind: str) -> None:
    data = camera.photograph(coffee(), kind)
    found = covered(data + b"\xff\xd8 a film behind it")
    assert not found.crops
    assert (pixels(found.photo) == pixels(data)).all()
    assert b"film" not in found.photo
    plain = bare(data, kind.lower())
    assert plain is not None
    assert pixels(plain).shape == pixels(data).shape
    assert found.photo == plain


def test_without_a_face_a_preview_between_two_scans_is_left_out() -> None:
    data = encoded(coffee(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    hidden = camera.thumbnail()[:400]
    segment = b"\xff\xe5" + struct.pack(">H", len(hidden) + 2) + hidden
    thumb = struct.pack(">H", 16 + 3 * 16) + data[6:18] + b"\x04\x04" + b"\x77" * 48
    odd = data[:2] + b"\xff\xe0" + thumb + data[20:at] + segment + data[at:]
    found = covered(odd)
    assert hidden not in found.photo
    assert b"\x77" * 48 not in found.photo
    assert (pixels(found.photo) == pixels(data)).all()


@pytest.mark.parametrize(
    ("kind", "becomes"),
    [("GIF", "png"), ("BMP", "png"), ("PPM", "png"), ("JPEG2000", "jpg"), ("AVIF", "jpg")],
)
def test_what_is_not_written_here_becomes_something_else_and_says_so(
    kind: str, becomes: str
) -> None:
    for image, faces in ((astronaut(), 1), (coffee(), 0)):
        found = covered(encoded(image, kind))
        assert (len(found.crops), found.photo_format) == (faces, becomes)
        assert CONVERTED in found.warnings
        assert pixels(found.photo).shape[:2] == (image.height, image.width)


def test_of_an_animation_one_frame_is_written_and_told() -> None:
    frames = [astronaut(), coffee().resize((512, 512))]
    for kind in ("PNG", "WEBP", "GIF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        found = covered(data, "mask")
        assert len(found.crops) == 1
        assert CONVERTED in found.warnings
        with Image.open(BytesIO(found.photo)) as made:
            assert getattr(made, "n_frames", 1) == 1


def test_of_a_tiff_the_first_page_is_written_and_told() -> None:
    data = encoded(astronaut(), "TIFF", save_all=True, append_images=[astronaut()])
    found = covered(data, "mask")
    assert (found.pages, found.warnings) == (2, [ImageWarning.FIRST_PAGE_OF_N])
    with Image.open(BytesIO(found.photo)) as made:
        assert getattr(made, "n_frames", 1) == 1


def test_a_deep_tiff_says_that_it_has_fewer_bits() -> None:
    deep = Image.fromarray(np.asarray(astronaut().convert("L")).astype(np.uint16) * 257)
    assert CONVERTED in covered(encoded(deep, "TIFF")).warnings


def test_a_photograph_too_large_to_be_decoded_whole_fails_with_a_code() -> None:
    data = encoded(astronaut(), "JPEG")
    with pytest.raises(ImageError) as raised:
        covered(data, max_pixels=512 * 511)
    assert raised.value.code is ImageErrorCode.TOO_MANY_PIXELS


def test_faces_that_are_no_crops_are_covered_too() -> None:
    # its centre lies past the edge, so that it would be no crop
    class Two:
        def detect(self, image: NDArray[np.uint8]) -> Faces:
            boxes = np.array([[-60, 100, 100, 100], [200, 100, 80, 80]], np.float32)
            return Faces(boxes, np.ones(2, np.float32), np.full((2, 5, 2), np.nan, np.float32))

    white = np.full((300, 400, 3), 255, np.uint8)
    options = DETECTION, CutSettings(), 10**8, 3072, "mask"
    found = crop_faces(encoded(Image.fromarray(white), "PNG"), Two(), *options)  # type: ignore[arg-type]
    assert len(found.crops) == 1
    after = pixels(found.photo)
    assert not after[150, 10].any()
    assert not after[140, 240].any()
