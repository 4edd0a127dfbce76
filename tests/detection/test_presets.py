"""Presets fill in what nobody has chosen, and are spelled out in what a batch is known by."""

from io import BytesIO

import pytest
from PIL import Image
from pydantic import ValidationError

from detection.image import crop_faces, make_detector
from detection.presets import PRESETS, Preset
from detection.settings import CutSettings, DetectionSettings
from pipeline.settings import CropSettings
from tests.pictures import astronaut_jpeg

SIZES = {
    "id-35x45": (413, 531),
    "us-2x2": (600, 600),
    "school-4x5": (640, 800),
    "avatar": (512, 512),
    "dataset-112": (112, 112),
}
HEADS = [name for name in SIZES if name != "dataset-112"]


@pytest.mark.parametrize("name", SIZES)
def test_a_preset_gives_crops_of_its_size_and_frame(name: Preset) -> None:
    detection = DetectionSettings()
    cut = CutSettings(preset=name, border="replicate").spelled_out()
    cut = cut.model_copy(update={"border": "replicate"})
    data = astronaut_jpeg()
    (crop,) = crop_faces(data, make_detector(detection), detection, cut, 10**8).crops
    with Image.open(BytesIO(crop.data)) as picture:
        assert picture.size == SIZES[name] == (crop.frame.width, crop.frame.height)
    if name in HEADS:
        assert crop.head_height == pytest.approx(PRESETS[name]["head_height"], abs=1e-4)
        assert crop.eye_line == pytest.approx(PRESETS[name]["eye_line"], abs=1e-4)


def test_the_figures_are_within_what_was_published() -> None:
    identity, american = PRESETS["id-35x45"], PRESETS["us-2x2"]
    assert 0.7 <= float(identity["head_height"]) <= 0.8
    assert 0.5 <= float(american["head_height"]) <= 0.69
    assert 0.56 <= 1 - float(american["eye_line"]) <= 0.69


def test_what_was_chosen_goes_before_a_preset() -> None:
    cut = CutSettings(preset="us-2x2", head_height=0.65, border="color", width=700).spelled_out()
    assert (cut.head_height, cut.border, cut.width, cut.height) == (0.65, "color", 700, 600)
    assert (cut.align, cut.eye_line) == ("level", 0.4)


def test_a_batch_is_known_by_what_its_preset_says() -> None:
    named = CropSettings(crop=CutSettings(preset="avatar"))
    spelled = {**named.identity()["crop"]}
    assert spelled["preset"] == "none"
    assert (spelled["width"], spelled["frame"], spelled["border"]) == (512, "head", "shrink")
    again = CropSettings.model_validate(named.identity())
    assert again.identity() == named.identity()
    assert again.crop == named.crop.spelled_out()


def test_a_colour_is_one_however_it_is_written() -> None:
    assert CutSettings(border_color="FFaa00") == CutSettings(border_color="ffaa00")
    for wrong in ("fff", "#ffffff", "gggggg"):
        with pytest.raises(ValidationError):
            CutSettings(border_color=wrong)


@pytest.mark.parametrize("side", ["size", "width", "height"])
def test_a_crop_has_16_pixels_a_side_at_least(side: str) -> None:
    with pytest.raises(ValidationError, match="should be 0 or at least 16"):
        CutSettings.model_validate({side: 15})
