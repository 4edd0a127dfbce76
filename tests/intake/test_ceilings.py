"""What an operator allows holds over what a client's settings ask."""

from typing import Any

import pytest

from intake.http.ceilings import hold
from intake.http.problems import ProblemError
from intake.http.settings import ServiceSettings, read_settings
from pipeline.settings import CropSettings

ALL = [
    ("MAX_PIXELS", 1_000_000, "limits", "max_pixels", 2_000_000),
    ("MAX_MEMBER_MIB", 10, "limits", "max_member_mib", 11),
    ("MAX_NESTED_MIB", 10, "limits", "max_nested_mib", 11),
    ("MAX_NESTED", 0, "input", "nested", 1),
    ("MAX_IMAGE_SECONDS", 10, "limits", "image_seconds", 11),
    ("MAX_IMAGE_MIB", 512, "limits", "image_mib", 513),
    ("MAX_CHUNK_MIB", 32, "chunk", "mib", 33),
    ("MIN_CHUNK_MIB", 32, "chunk", "mib", 31),
    ("MIN_CHUNK_MEMBERS", 100, "chunk", "members", 99),
    ("MAX_THREADS", 2, "run", "threads", 3),
    ("MAX_SHARDS_AT_ONCE", 4, "run", "shards_at_once", 5),
    ("MIN_SHARD_MEMBERS", 5000, "run", "shard_members", 4999),
    ("MAX_SIDE", 320, "detection", "side", 640),
    ("MAX_CROP_SIZE", 200, "crop", "size", 201),
]


def service(**given: object) -> ServiceSettings:
    return read_settings({f"FACECROP_HTTP_{name}": str(value) for name, value in given.items()})


@pytest.mark.parametrize(("name", "bound", "group", "field", "beyond"), ALL)
def test_who_asks_for_more_is_told_the_ceiling(
    name: str, bound: int, group: str, field: str, beyond: int
) -> None:
    asked = CropSettings.model_validate({group: {field: beyond}})
    with pytest.raises(ProblemError, match=rf"settings\.{group}\.{field}.* {bound} "):
        hold(asked, service(**{name: bound}))
    just = CropSettings.model_validate({group: {field: bound}})
    assert hold(just, service(**{name: bound})) == just


@pytest.mark.parametrize(("name", "bound", "group", "field", "_"), ALL)
def test_what_was_left_out_comes_to_the_ceiling(
    name: str, bound: int, group: str, field: str, _: int
) -> None:
    held = hold(CropSettings(), service(**{name: bound}))
    value = getattr(getattr(held, group), field)
    if name.startswith("MAX"):
        assert value == bound
    else:
        assert value == 0 or value >= bound


def test_a_0_that_leaves_it_to_the_worker_does_not_go_round_the_ceiling() -> None:
    asked = CropSettings.model_validate({"run": {"threads": 0}, "chunk": {"mib": 0}})
    held = hold(asked, service(MAX_THREADS=2, MAX_CHUNK_MIB=32))
    assert (held.run.threads, held.chunk.mib) == (2, 32)
    assert hold(asked, service()).run.threads == 0


def test_a_profile_looks_no_closer_than_the_ceiling() -> None:
    asked = CropSettings.model_validate({"detection": {"profile": "thorough"}})
    assert hold(asked, service(MAX_SIDE=400)).detection.passes.side == 400
    assert hold(asked, service(MAX_SIDE=640)) == asked


@pytest.mark.parametrize(
    "chosen", [{"size": 0}, {"height": 300}, {"width": 201}, {"preset": "us-2x2"}], ids=str
)
def test_no_way_to_large_crops_goes_round_the_ceiling(chosen: dict[str, Any]) -> None:
    asked = CropSettings.model_validate({"crop": {"size": 100, **chosen}})
    with pytest.raises(ProblemError, match=f"settings.crop.{next(iter(chosen))}: .* 200 pixels"):
        hold(asked, service(MAX_CROP_SIZE=200))
    assert hold(asked, service()) == asked
    small = CropSettings.model_validate({"crop": {"preset": "dataset-112"}})
    assert hold(small, service(MAX_CROP_SIZE=200)) == small


def test_the_defaults_of_a_batch_are_within_those_of_the_service() -> None:
    assert hold(CropSettings(), service()) == CropSettings()


def test_the_most_that_the_model_takes_is_not_what_a_client_may_ask_by_default() -> None:
    most: dict[str, Any] = {
        "limits": {
            "max_pixels": 10**9,
            "max_member_mib": 4096,
            "image_seconds": 3600,
            "image_mib": 65_536,
        },
        "run": {"threads": 256, "shards_at_once": 200, "shard_members": 1},
        "chunk": {"members": 1, "mib": 1024},
    }
    with pytest.raises(ProblemError) as refused:
        hold(CropSettings.model_validate(most), service())
    for group, fields in most.items():
        for field in fields:
            assert f"settings.{group}.{field}" in str(refused.value)


def test_links_are_followed_only_where_the_operator_says_so() -> None:
    asked = CropSettings.model_validate({"input": {"follow_links": "yes"}})
    with pytest.raises(ProblemError, match="follow_links"):
        hold(asked, service())
    assert hold(asked, service(FOLLOW_LINKS="yes")) == asked
