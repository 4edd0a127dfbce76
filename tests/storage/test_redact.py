import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.fs.redact import bare, hides, shown, shown_uri

SIGNED = "https://store.example/a.zip?X-Amz-Credential=AKIA%2Fx&X-Amz-Signature=hush"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("https://me:hush@host/a.zip", "https://***@host/a.zip"),
        ("https://hush@host/a.zip", "https://***@host/a.zip"),
        ("HTTP://me:hush@host:8080/a.zip", "HTTP://***@host:8080/a.zip"),
        ("https://me:hu/s@h@host/a.zip", "https://***@host/a.zip"),
        ("https://me:8080@host/a.zip", "https://***@host/a.zip"),
        ("sftp://me:hush@host/a.zip", "sftp://***@host/a.zip"),
        (SIGNED, "https://store.example/a.zip?***"),
        ("https://host/a.zip?hush", "https://host/a.zip?***"),
        ("https://host:9000/a.zip?sv=1&sig=hu%2Fsh%3D#x", "https://host:9000/a.zip?***"),
        ("https://me:hush@host/a.zip?sig=hush", "https://***@host/a.zip?***"),
        (f"404, url='{SIGNED}', and {SIGNED} too", None),
    ],
)
def test_what_lets_a_reader_in_is_hidden(text: str, seen: str | None) -> None:
    assert seen is None or shown(text) == seen
    assert "hu" not in shown(text)
    assert "AKIA" not in shown(text)
    assert hides(shown(text)) is (seen is not None)
    line = f"cannot open {shown(text)}: permission denied"
    assert shown(line) == line  # and nothing is hidden twice


@pytest.mark.parametrize(
    "text",
    [
        "/data/a?b=c.zip",
        "C:\\photos\\a@b.zip",
        "s3://photos/in/a.zip",
        "s3://photos/me:you@home?x=1.jpg",
        "memory://a/b.zip",
        "sftp://me@host/a.zip",
        "abfs://photos@account.example/a.zip",
        "https://host/a%20b.zip",
        "http://127.0.0.1:9000/photos/a@2x.jpg",
        "http://[::1]:9000/photos/a@2x.jpg",
        "http://host:1/a and me@home?",
        "cannot open https://host/a.zip: what now?",
        "",
    ],
)
def test_what_tells_nothing_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text
    assert not hides(text)


@pytest.mark.parametrize(
    ("uri", "seen"),
    [
        ("s3://bucket/a.zip?X-Amz-Signature=hush", "s3://bucket/a.zip?***"),
        ("s3://bucket/a.zip?hush", "s3://bucket/a.zip?***"),
        ("S3://bucket/a.zip?AWSAccessKeyId=hush.jpg", "S3://bucket/a.zip?***"),
        ("gs://bucket/a.zip?x-goog-signature=hush", "gs://bucket/a.zip?***"),
        ("abfs://photos@account.example/a.zip?sv=1&sig=hu%2Fsh", None),
        ("az://photos/a.zip?sv=2024-01-01&se=x&sig=hush", "az://photos/a.zip?***"),
        ("ftp://hush@host/a.zip", "ftp://***@host/a.zip"),
        ("ftp://me:hush@host/a.zip?hush", "ftp://***@host/a.zip?***"),
        ("webdavs://hush@host/a.zip#hush", "webdavs://***@host/a.zip#***"),
        ("dropbox://hush@owner/a.zip", "dropbox://***@owner/a.zip"),
        ("https://host/a.zip#access_token=hush", "https://host/a.zip#***"),
        ("s3://bucket/a.zip#access_token=hush", "s3://bucket/a.zip#***"),
        ("https://host/a.zip?***&sig=hush", "https://host/a.zip?***"),
        ("https://host/a.zip?x=1&next=https://b/c&sig=hush", "https://host/a.zip?***"),
        ("https://me:hu?sh@host/a.zip", "https://***@host/a.zip"),
        ("zip://a::https://me:hush@host/a.zip?hush", None),
    ],
)
def test_of_every_scheme(uri: str, seen: str | None) -> None:
    for text in (shown(uri), shown_uri(uri), shown(f"cannot open {uri}: gone")):
        assert "hu" not in text
        assert seen is None or seen in text
        assert shown(text) == text
    assert hides(shown(uri))
    assert bare(uri).endswith((".zip", "/c", "/owner/a.zip"))


@pytest.mark.parametrize(
    "uri",
    [
        "s3://photos/what?.jpg",
        "s3://photos/what#/a.zip",
        "s3://photos/a.zip?versionId=3HL4kqtJvjVBH40Nrjfkd",
        "gs://photos/album #3.zip",
    ],
)
def test_an_object_s_own_name_is_none(uri: str) -> None:
    assert shown(uri) == shown_uri(uri) == uri
    assert not hides(uri)


def test_an_address_with_blanks_is_hidden_whole() -> None:
    assert shown_uri("https://me:hu sh@host/a b.jpg?sig=hu sh") == "https://***@host/a b.jpg?***"
    assert shown_uri('https://host/a.jpg?***"hush') == "https://host/a.jpg?***"
    assert shown_uri("/data/a b?c#d@e:f.jpg") == "/data/a b?c#d@e:f.jpg"


SECRET = "hUsH7"
SCHEMES = st.sampled_from(
    ["http", "HTTPS", "s3", "s3a", "gs", "az", "abfs", "ftp", "sftp", "webdav", "redis", "x+y"]
)
SIGNS = st.text(st.sampled_from("ab/.:;=&%-_~*'\",é"), max_size=8)
HIDING = st.sampled_from(
    [
        "{scheme}://me:{secret}@host/{a}",
        "{scheme}://:{secret}@host/{a}",
        "{scheme}://me:{a}{secret}@host/x?y",
        "{scheme}://host/{a}?sig={secret}",
        "{scheme}://host/{a}?x={b}&X-Amz-Signature={secret}",
        "{scheme}://host/{a}?{secret}",
        "{scheme}://host/{a}#access_token={secret}",
        "{scheme}://host/{a}#{b}{secret}",
        "{scheme}://me:{secret}@host/{a}?{secret}#{secret}",
        "http://{secret}@host/{a}",
        "ftp://{secret}@host/{a}",
    ]
)


@given(
    HIDING, SCHEMES, SIGNS, SIGNS, st.sampled_from(["", "see ", "url='", "é", '{"u": "', "a=b,"])
)
def test_no_secret_is_left(form: str, scheme: str, a: str, b: str, before: str) -> None:
    uri = form.format(scheme=scheme, a=a, b=b, secret=SECRET)
    for text in (shown_uri(uri), shown(before + uri), shown(f"{before}{uri} and {uri}: gone")):
        assert SECRET not in text
        assert shown(text) == text
        assert shown_uri(shown_uri(text)) == shown_uri(text)


@given(
    st.text()
    | st.lists(st.sampled_from([*"/?#@:*. \"'),", "://", "***", "h", "a.jpg", "1"])).map("".join)
)
@example("a://?***://b?c")
def test_hiding_twice_hides_no_more(text: str) -> None:
    assert shown(shown(text)) == shown(text)
    assert shown_uri(shown_uri(text)) == shown_uri(text)
    if "://" not in text:
        assert shown(text) == text
        assert shown_uri(text) == text
