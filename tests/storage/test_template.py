"""Names by a template: what may be written, and that no two crops ever share one."""

import re
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.output.names import fold
from storage.output.template import Named, Template

FIELDS = ("stem", "folder", "subject", "sha256", "rank", "page", "member", "last", "rank:02d")
LITERALS = st.text(st.sampled_from([*"_-.1 am"]), max_size=3)
PIECES = st.lists(
    LITERALS | st.sampled_from([*(f"{{{name}}}" for name in FIELDS), "/"]), max_size=6
)
TEMPLATES = st.tuples(
    st.sampled_from(["", "", "{rank}-", "{member}_{rank} ", "{folder}/"]),
    PIECES.map("".join),
    st.sampled_from(
        [
            "",
            "{stem}1{rank}",
            "{stem}_{rank}",
            "{stem}/{rank}",
            "_{page}_{rank:02d}",
            "_{member}0{rank}",
        ]
    ),
).map("".join)
TEXTS = st.text(
    st.sampled_from([*"aA01_~. /\\:com", "\u0308", "\udc80", "\u212a", "\ufb01", "\u0958"]),
    max_size=8,
)
LONG = st.sampled_from(["", "x" * 250, "\u00e4" * 150, "o" * 199, "\u0958" * 90])
NEAR = st.sampled_from(["", "a", "a1", "a10", "a_1", "a_0", "a1_1", "a_10", "1"])
ENDINGS = st.sampled_from([".jpg", ".JPG", ""])
PATHS = st.builds("".join, st.tuples(LONG, TEXTS, LONG, ENDINGS)) | NEAR.map("{}.jpg".format)
ROWS = st.none() | st.fixed_dictionaries({"last": NEAR | TEXTS | LONG})


def named(path: str, member: int, row: dict[str, str] | None = None) -> Named:
    return Named(path, member, "0123456789abcdef" * 4, row)


@given(TEMPLATES, st.lists(st.tuples(PATHS, ROWS), min_size=2, max_size=4))
def test_no_two_crops_share_a_name_where_no_two_photographs_do(
    text: str, members: list[tuple[str, dict[str, str] | None]]
) -> None:
    template = None
    with suppress(ValueError):
        template = Template.of(text, ("last",))
    if template is None or "rank" not in template.read_back:
        return
    if "page" in template.fields - template.read_back:
        return
    firsts = [
        fold(template.path(named(path, member, row))[0])
        for member, (path, row) in enumerate(members)
    ]
    if template.is_unique:
        assert len(set(firsts)) == len(firsts)
    if len(set(firsts)) < len(firsts):
        return
    paths = {
        (member, rank): template.path(named(path, member, row), rank, page)[0]
        for member, (path, row) in enumerate(members)
        for rank, page in ((0, 0), (1, 0), (9, 1), (10, 1), (11, 11), (101, 12))
    }
    assert len({fold(path) for path in paths.values()}) == len(paths)
    for path in paths.values():
        steps = path.split("/")
        assert unicodedata.normalize("NFC", path) == path
        assert not re.search(r'[\x00-\x1f<>:"|?*\\\ud800-\udfff]', path)
        assert not {"", ".", "..", "con"} & {step.lower().split(".")[0] or step for step in steps}
        assert all(len(step.encode()) <= 220 for step in steps)
        assert len(path.encode()) <= 1000
        assert fold(steps[0]) not in ("_rejected", "_unmatched")
        assert not any(fold(step).endswith((".jpg", ".png", ".webp")) for step in steps[:-1])


@pytest.mark.parametrize(
    ("text", "path", "name", "changed"),
    [
        ("{stem}_{rank:02d}", "3b/Ann.jpg", "Ann_07", False),
        ("{folder}/{rank}-{stem}", "./2024//3b/Ann.x.JPG", "2024/3b/7-Ann.x", False),
        ("{folder}/{stem}_{rank}", "Ann.jpg", "Ann_7", False),
        ("{subject}/{stem}_{page}_{rank}", "a/3b/Ann.jpg", "3b/Ann_2_7", False),
        ("{sha256:8}_{rank}", "Ann.jpg", "01234567_7", False),
        ("{sha256}_{member:05d}_{rank}", "Ann", "0123456789abcdef_00012_7", False),
        ("{{{stem}}}_{rank}", "Ann.jpg", "{Ann}_7", False),
        ("{stem}_{rank}", "Ann", "Ann_7~12", True),
        ("{stem}_{rank}", "IMG~1.JPG", "IMG_1_7", True),
        ("{folder}/{stem}_{rank}", "../a.jpg/b?.jpg", "_/a.jpg_/b__7", True),
        ("{subject}/{rank}", "con/x.jpg", "_con/7", True),
        ("{subject}/{rank}", "x.jpg", "_/7", True),
        ("{folder}/{rank}", "_Rejected/x.jpg", "__Rejected/7", True),
        ("{stem}_{rank}", f"{'ä' * 150}.jpg", f"{'ä' * 93}_7", True),
    ],
)
def test_a_name(text: str, path: str, name: str, changed: bool) -> None:
    assert Template.of(text).path(named(path, 12), 7, 2) == (name, changed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{stem.__class__}_{rank}", "there is no field {stem.__class__}; there are {folder}, "),
        ("{stem[0]}", "no field {stem[0]}"),
        ("{0}", "no field {0}"),
        ("{}", "no field {}"),
        ("{stem!r}", "no field {stem!r}"),
        ("{last}", "{member}"),
        ("{stem:>1000000000}", "{stem:>1000000000} cannot be; write {stem}"),
        ("{rank:{member}}", "cannot be; write {rank} or, with leading zeros, {rank:04d}"),
        ("{rank:1000000000d}", "cannot be"),
        ("{rank:x}", "cannot be"),
        ("{rank:3}", "write {rank:03}"),
        ("{sha256:4}", "8 to 64 digits"),
        ("{stem", "braces do not match"),
        ("../{stem}", "'..' is no name"),
        ("/{stem}", "there has to be a name"),
        ("a//{stem}", "there has to be a name"),
        ("{stem}/", "there has to be a name"),
        ("", "there has to be a name"),
        ("a\\{stem}", "cannot be in a name"),
        ("a:{stem}", "cannot be in a name"),
        ("a~{stem}", "cannot be in a name"),
        ("x{folder}", "stands alone"),
        ("{folder}/{folder}/{rank}", "twice"),
        ("a/b/c/d/{rank}", "4 parts"),
        ("x" * 190 + "{stem}", "too long"),
        ("x" * 401, "400 characters"),
    ],
)
def test_what_cannot_be_written_is_told_in_a_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        Template.of(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "read_back"),
    [
        ("{stem}_{rank}", {"rank"}),
        ("{rank}_{stem}", {"rank"}),
        ("{stem}/{rank}", {"rank"}),
        ("{stem}{rank}", set()),
        ("{stem}1{rank}", set()),
        ("{stem}_{rank}_{last}", set()),
        ("{stem}_{member}{rank}", set()),
        ("{stem}_{member}_{rank}", {"member", "rank"}),
        ("{member}_{stem}_{rank}_x", {"member", "rank"}),
        ("{member}/{last}/{rank}", {"member", "rank"}),
    ],
)
def test_which_numbers_a_name_tells_without_a_doubt(text: str, read_back: set[str]) -> None:
    assert Template.of(text, ("last",)).read_back == read_back
