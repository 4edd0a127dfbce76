import argparse
import re

import pytest

from intake.cli.options import OptionError, add_options, read_options
from intake.cli.parsers.parse import parse
from pipeline.settings import COMMON, CropSettings


def read(*flags: str, **environ: str) -> CropSettings:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_options(parser)
    return read_options(parser.parse_args(flags).settings, environ)


CALLED = {"otherwise": "else"}  # which is a word of Python's own


def fields() -> list[tuple[str, str]]:
    return [
        (group, name)
        for group, field in CropSettings.model_fields.items()
        for name in field.annotation.model_fields  # type: ignore[union-attr]
    ]


def test_nothing_given_is_the_defaults() -> None:
    assert read() == CropSettings()


def test_every_setting_has_a_flag_and_a_variable_that_change_it() -> None:
    other = {
        "method": "haar", "profile": "fast", "model": "m.onnx", "format": "png", "layout": "shards",
        "existing": "overwrite", "min_score": "0.5", "max_overlap": "0.5", "padding": "0.5",
        "image_mib": "512", "nested": "3", "skip_system": "no", "redirects": "no",
        "follow_links": "yes", "color": "keep", "name_encoding": "cp932", "pages": "all",
        "name": "{member}_{rank}", "dedupe": "exact", "key": "subject", "sha256": "a" * 64,
        "pick": "best", "min_sharpness": "0.5", "otherwise": "drop",
        "kind": "blurred", "cover": "mask", "metadata": "safe",
        "preset": "avatar", "enlarge": "no", "align": "ffhq", "frame": "head",
        "head_height": "0.5", "eye_line": "0.5", "border": "color", "border_color": "00ff7f",
    }  # fmt: skip
    assert len(fields()) >= 18
    for group, name in fields():
        value = other.get(name, "65")
        shown = CALLED.get(name, name)
        flag = f"--{group}-{shown}".replace("_", "-")
        for changed in (read(flag, value), read(**{f"FACECROP_{group}_{shown}".upper(): value})):
            was = getattr(getattr(CropSettings(), group), name)
            now = getattr(getattr(changed, group), name)
            assert now == type(was)(value) != was


def test_every_setting_says_what_it_is_and_numbers_have_bounds() -> None:
    for group, name in fields():
        field = CropSettings.model_fields[group].annotation.model_fields[name]  # type: ignore[union-attr]
        assert field.description, f"{group}.{name}"
        if field.annotation in (int, float):
            assert len(field.metadata) >= 2, f"{group}.{name} has no bounds"


def test_a_setting_that_says_it_all_has_a_short_flag() -> None:
    assert read("--dedupe", "exact").input.dedupe == "exact"
    roster = read("--roster", "people.csv", "--roster-key", "subject").roster
    assert (roster.file, roster.key) == ("people.csv", "subject")


def test_a_flag_goes_before_the_environment() -> None:
    settings = read("--crop-size", "100", FACECROP_CROP_SIZE="200", FACECROP_CROP_QUALITY="50")
    assert (settings.crop.size, settings.crop.quality) == (100, 50)


def test_each_wrong_value_is_one_line_that_names_where_it_was_given() -> None:
    with pytest.raises(OptionError) as raised:
        read("--detection-side", "3", "--crop-format", "gif", FACECROP_CROP_QUALITY="high")
    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert any(line.startswith("--detection-side 3: ") and "64" in line for line in lines)
    assert any(line.startswith("--crop-format gif: ") and "webp" in line for line in lines)
    assert any(line.startswith("FACECROP_CROP_QUALITY high: ") for line in lines)


def test_help_names_bounds_and_defaults() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    text = " ".join(parser.format_help().split())
    assert "(at least 0, at most 2048; default 300)" in text
    assert "yunet|haar" in text


@pytest.mark.parametrize("command", ["crop", "submit"])
def test_help_tells_of_the_common_settings_and_of_all_when_asked(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[set[str]] = []
    for asked in ("--help", "--help-all"):
        with pytest.raises(SystemExit):
            parse([command, asked])
        told.append({*re.findall(r"^  (--\w+-[\w-]+)", capsys.readouterr().out, re.MULTILINE)})
    flags = {f"--{group}-{CALLED.get(name, name)}".replace("_", "-") for group, name in fields()}
    common = {f"--{group}-{name}".replace("_", "-") for group, name in COMMON}
    assert told[0] & flags == common
    assert told[1] >= flags


def test_common_settings_come_first_in_the_form() -> None:
    shown = fields()
    groups = dict.fromkeys(group for group, _ in shown)
    assert [*dict.fromkeys(group for group, _ in COMMON)] == [*[*groups][:4], "run"]
    for group in groups:
        mine = [one for one in shown if one[0] == group]
        common = [one for one in COMMON if one[0] == group]
        assert mine[: len(common)] == common


def test_what_does_not_change_the_result_is_no_part_of_the_identity() -> None:
    here = read("--run-threads", "3", "--run-existing", "overwrite").identity()
    assert here == CropSettings().identity()
    assert read("--crop-quality", "80").identity() != here


def test_a_profile_is_what_it_does() -> None:
    fast = read("--detection-profile", "fast").identity()
    assert fast == read("--detection-profile", "fast", "--detection-side", "384").identity()
    assert fast["detection"]["side"] == 384
    balanced = read("--detection-profile", "balanced", "--detection-min-score", "0.7")
    assert balanced.identity() == CropSettings().identity()
    assert read("--detection-profile", "thorough").identity() != CropSettings().identity()


@pytest.mark.parametrize("profile", ["fast", "balanced", "thorough"])
def test_settings_are_made_again_from_their_identity(profile: str) -> None:
    settings = read("--detection-profile", profile, "--detection-min-score", "0.6")
    again = CropSettings.model_validate(settings.identity())
    assert again.detection.passes == settings.detection.passes
    assert again.identity() == settings.identity()
