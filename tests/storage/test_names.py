import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.errors import SkipReason
from storage.output.names import (
    crop_stem,
    digest,
    fold,
    is_changed,
    looks_like_image,
    photo_name,
    repeats,
    skip_reason,
)

RESERVED = {"con", "prn", "aux", "nul", "com1", "lpt9"}
# names that are likely to collide: few letters, and everything that some file system minds
AWKWARD = st.text(
    st.sampled_from(
        [*'aAb1~_. /\\:*?"<>|\0\n', "\u00e4", "\u0308", "\u00df", "\udc80", "\u212a", "\ufb01"]
    ),
    max_size=12,
)
PIECES = st.lists(
    st.sampled_from(["a", "A", "a.jpg", "A.JPG", "a.jpg_", "con", "..", ".", "", "~1", "x~2", "é"]),
    min_size=1,
    max_size=4,
).map("/".join)
NAMES = st.lists(AWKWARD | PIECES | st.text(max_size=30), unique=True, min_size=1, max_size=12)


def stems(names: list[str]) -> list[str]:
    again = repeats(b"".join(map(digest, names)))
    return [crop_stem(name, i, bool(again[i])) for i, name in enumerate(names)]


@given(st.lists(AWKWARD | PIECES, min_size=1, max_size=3).map("/".join), st.booleans())
def test_no_member_lies_in_a_folder_that_is_taken(name: str, duplicate: bool) -> None:
    for folder in ("_rejected", "_Rejected", "./_REJECTED", "_rejected. ", "_rejected\\"):
        stem = crop_stem(f"{folder}/{name}", 7, duplicate, "_rejected")
        assert not fold(stem).startswith("_rejected/")
        assert stem.endswith("~7") or "/" not in stem.removesuffix("~7")


@pytest.mark.parametrize("name", ["a.jpg", "x/_rejected/a.jpg", "_rejected", "_rejected.jpg"])
def test_other_names_are_as_they_were(name: str) -> None:
    assert crop_stem(name, 7, False, "_rejected") == crop_stem(name, 7, False)


@given(NAMES)
def test_no_two_members_share_a_stem_even_where_case_does_not_count(names: list[str]) -> None:
    found = [unicodedata.normalize("NFC", stem).casefold() for stem in stems(names)]
    assert len(set(found)) == len(names)


@given(NAMES)
def test_no_crop_is_where_another_needs_a_folder(names: list[str]) -> None:
    files = {fold(f"{stem}_{rank}.jpg") for stem in stems(names) for rank in range(2)}
    folders = {
        fold("/".join(stem.split("/")[:depth]))
        for stem in stems(names)
        for depth in range(1, stem.count("/") + 1)
    }
    assert not files & folders


@given(NAMES, st.lists(st.sampled_from(["jpg", "png", "webp", "tif"]), min_size=12, max_size=12))
def test_no_two_photographs_share_a_path(names: list[str], formats: list[str]) -> None:
    made = zip(stems(names), formats, strict=False)
    paths = [photo_name(stem, index, kind) for index, (stem, kind) in enumerate(made)]
    assert len({fold(path) for path in paths}) == len(names)
    folders = {
        fold("/".join(path.split("/")[:depth]))
        for path in paths
        for depth in range(1, path.count("/") + 1)
    }
    assert not {fold(path) for path in paths} & folders
    assert all(len(part.encode()) <= 255 for path in paths for part in path.split("/"))


@pytest.mark.parametrize(
    ("stem", "kind", "path"),
    [
        ("3a/IMG_1.JPG", "jpg", "3a/IMG_1.JPG"),
        ("IMG_1.heic", "jpg", "IMG_1.heic~5.jpg"),
        ("IMG_1.png", "jpg", "IMG_1.png~5.jpg"),
        ("IMG~2.jpg", "jpg", "IMG~2.jpg~5.jpg"),
        ("IMG.jpg~5", "jpg", "IMG.jpg~5.jpg"),
        ("IMG.tiff", "tif", "IMG.tiff"),
    ],
)
def test_photo_name(stem: str, kind: str, path: str) -> None:
    assert photo_name(stem, 5, kind) == path


@given(AWKWARD | PIECES | st.text(max_size=400))
@example('"' + "a" * 199)
def test_a_stem_is_a_path_that_every_file_system_takes(name: str) -> None:
    stem = crop_stem(name, 7, duplicate=False)
    assert not stem.startswith("/")
    assert len(stem.encode()) <= 830
    for part in stem.split("/"):
        assert part not in ("", ".", "..")
        assert not part.endswith((".", " "))
        assert not set(part) & set('<>:"|?*\\\0\n')
        assert part.split(".")[0].rstrip().lower() not in RESERVED
        assert len(part.encode()) <= 220
    assert not is_changed(stem.removesuffix("~7"))  # for which there is room behind the most bytes


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("class-3a/IMG_1.jpg", "class-3a/IMG_1.jpg"),
        ("class-3a\\IMG_1.jpg", "class-3a/IMG_1.jpg"),
        ("Schüler/Zoë.png", "Schüler/Zoë.png"),
        ("a.jpg/b", "a.jpg_/b~5"),
        ("x~3", "x~3~5"),
        ("a?.jpg", "a_.jpg~5"),
        ("/etc/passwd", "etc/passwd~5"),
        ("../up.jpg", "_/up.jpg~5"),
        ("./here.jpg", "here.jpg~5"),
        ("C:\\pics\\a.jpg", "C_/pics/a.jpg~5"),
        ("\\\\host\\share\\a.jpg", "host/share/a.jpg~5"),
        ("a.jpg\0.exe", "a.jpg_.exe~5"),
        ("con.jpg", "_con.jpg~5"),
        ("Zoe\u0308.png", "Zoë.png~5"),
        ("", "_~5"),
        ("ü" * 150 + ".jpg", "ü" * 100 + "~5"),
    ],
)
def test_stem(name: str, stem: str) -> None:
    assert crop_stem(name, 5, duplicate=False) == stem


def test_a_duplicate_gets_its_index() -> None:
    assert crop_stem("a.jpg", 12, duplicate=True) == "a.jpg~12"


def test_the_whole_path_is_bounded() -> None:
    stem = crop_stem("/".join(["folder" * 20] * 60) + "/a.jpg", 3, duplicate=False)
    assert len(stem.encode()) < 830
    assert stem.endswith("/a.jpg~3")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "/a.jpg",
            "\\a.jpg",
            "//host/share/a.jpg",
            "\\\\host\\share\\a.jpg",
            "C:\\a.jpg",
            "c:a.jpg",
        ),
        *(
            "a/../../b.jpg",
            "a\\..\\b.jpg",
            "a.jpg\0.exe",
            "ab:c.jpg",
            "a:b?c*d|e.jpg",
            "con.jpg",
            "...",
        ),
        *("a/b. /c.jpg", "x" * 300, "a.jpg/b"),
    ],
)
def test_a_name_that_crops_cannot_have_is_changed(name: str) -> None:
    assert is_changed(name)


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "a\\b.jpg", "a/b..c/d...jpg", "a/.hidden.jpg", "./a.jpg", "Zoe\u0308.jpg", "a~1.jpg"],
)
def test_a_name_that_crops_have_is_not_changed(name: str) -> None:
    assert not is_changed(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("__MACOSX/a/._b.jpg", SkipReason.SYSTEM_FILE),
        ("a\\._b.jpg", SkipReason.SYSTEM_FILE),
        ("a/.DS_Store", SkipReason.SYSTEM_FILE),
        ("a/THUMBS.DB", SkipReason.SYSTEM_FILE),
        ("desktop.ini", SkipReason.SYSTEM_FILE),
        ("a/more.tar.gz", SkipReason.NESTED_ARCHIVE),
        ("more.ZIP", SkipReason.NESTED_ARCHIVE),
        ("a/b.jpg", None),
        ("zip/readme", None),
        ("a.zip/b.jpg", None),
    ],
)
def test_skip_reason(name: str, reason: SkipReason | None) -> None:
    assert skip_reason(name) is reason


def test_looks_like_image() -> None:
    assert looks_like_image("a/B.JPEG")
    assert looks_like_image("a.heic")
    assert not looks_like_image("a.jpg/readme")
    assert not looks_like_image("jpg")


@pytest.mark.parametrize(
    ("one", "other"), [("A/b.JPG", "a\\B.jpg"), ("Zo\u00eb", "ZOE\u0308"), ("straße", "STRASSE")]
)
def test_fold_joins_what_a_file_system_may(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_digest_does_not_depend_on_the_process() -> None:
    assert digest("A\\b").hex() == digest("a/B").hex() == "0debd2558bca8fa0"


def test_what_was_hidden_of_an_address_is_no_part_of_its_file_s_name() -> None:
    assert looks_like_image("https://***@host/a.JPG?***")
    assert skip_reason("https://host/a.zip?***") is SkipReason.NESTED_ARCHIVE
    assert crop_stem("https://***@host/a.jpg?***", 3, duplicate=False) == "https_/___@host/a.jpg~3"
    assert not looks_like_image("https://host/photo?***")
