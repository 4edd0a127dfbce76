"""Which server is configured, held to what Prefect itself takes."""

from pathlib import Path

import pytest

from intake.control.configured import configured_url

pytestmark = pytest.mark.slow  # it imports Prefect

PROFILES = """
active = "school"
[profiles.school]
PREFECT_API_URL = "http://profile/api"
[profiles.other]
PREFECT_API_URL = "http://other/api"
[profiles.none]
PREFECT_LOGGING_LEVEL = "INFO"
"""


@pytest.mark.parametrize(
    ("files", "environment", "url"),
    [
        ({}, {}, None),
        ({}, {"PREFECT_API_URL": "http://environment/api"}, "http://environment/api"),
        ({"home/.prefect/profiles.toml": PROFILES}, {}, "http://profile/api"),
        (
            {"home/.prefect/profiles.toml": PROFILES},
            {"PREFECT_API_URL": "http://environment/api"},
            "http://environment/api",
        ),
        ({"home/.prefect/profiles.toml": PROFILES}, {"PREFECT_API_URL": ""}, None),
        (
            {"home/.prefect/profiles.toml": PROFILES},
            {"PREFECT_PROFILE": "other"},
            "http://other/api",
        ),
        ({"home/.prefect/profiles.toml": PROFILES}, {"PREFECT_PROFILE": "none"}, None),
        ({"home/.prefect/profiles.toml": PROFILES}, {"PREFECT_PROFILE": "unknown"}, None),
        ({"home/.prefect/profiles.toml": "not TOML"}, {}, None),
        ({"else/profiles.toml": PROFILES}, {"PREFECT_HOME": "{}/else"}, "http://profile/api"),
        (
            {"mine.toml": PROFILES},
            {"PREFECT_PROFILES_PATH": "{}/mine.toml"},
            "http://profile/api",
        ),
        ({"here/.env": "PREFECT_API_URL=http://dotenv/api"}, {}, "http://dotenv/api"),
        (
            {"here/.env": "PREFECT_PROFILES_PATH=../mine.toml", "mine.toml": PROFILES},
            {},
            "http://profile/api",
        ),
        ({"here/prefect.toml": '[api]\nurl = "http://toml/api"'}, {}, "http://toml/api"),
        (
            {"here/prefect.toml": 'profiles_path = "../mine.toml"', "mine.toml": PROFILES},
            {},
            "http://profile/api",
        ),
        (
            {
                "here/pyproject.toml": '[tool.prefect.api]\nurl = "http://project/api"',
                "home/.prefect/profiles.toml": PROFILES,
            },
            {},
            "http://project/api",
        ),
        (
            {
                "here/.env": "PREFECT_API_URL=http://dotenv/api",
                "here/prefect.toml": '[api]\nurl = "http://toml/api"',
                "here/pyproject.toml": '[tool.prefect.api]\nurl = "http://project/api"',
            },
            {},
            "http://dotenv/api",
        ),
    ],
)
def test_it_is_the_one_that_prefect_would_ask(
    files: dict[str, str],
    environment: dict[str, str],
    url: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefect.settings import Settings
    from prefect.settings import sources as prefect_sources

    for name in ("here", "home/.prefect"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    # found once, when Prefect is imported
    monkeypatch.setattr(prefect_sources, "DEFAULT_PREFECT_HOME", tmp_path / "home" / ".prefect")

    assert configured_url() == url
    assert (Settings().api.url or None) == url
