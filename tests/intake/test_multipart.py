import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.http.multipart import Part, read_multipart
from intake.http.problems import ProblemError
from intake.http.threads import Threads

BOUNDARY = "frontier"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def read(data: bytes, step: int, content_type: str = TYPE) -> list[tuple[Part, bytes]]:
    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(data), step):
            yield data[start : start + step]

    async def collect() -> list[tuple[Part, bytes]]:
        found: list[tuple[Part, bytes]] = []
        async for event in read_multipart(content_type, body(), Threads().parse):
            if isinstance(event, Part):
                found.append((event, b""))
            elif event is not None:
                found[-1] = (found[-1][0], found[-1][1] + event)
        return found

    return asyncio.run(collect())


@given(
    content=st.lists(
        st.sampled_from([b"\r\n", b"--", b"--frontier", b"\r\n--frontie", b"x", b"\0" * 9])
    ).map(b"".join),
    step=st.integers(1, 50),
)
def test_a_clients_form_is_read_whatever_its_pieces(content: bytes, step: int) -> None:
    request = httpx.Request(
        "POST", "http://x", files={"file": ('é "1".zip', content)}, data={"priority": "3"}
    )
    parts = read(request.read(), step, request.headers["content-type"])
    assert [part.name for part, _ in parts] == ["priority", "file"]
    assert [data for _, data in parts] == [b"3", content]
    assert parts[0][0].filename is None
    assert parts[1][0].filename is not None
    assert "é" in parts[1][0].filename


HEAD = b'--frontier\r\nContent-Disposition: form-data; name="a"\r\n\r\n'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        HEAD + b"text",
        HEAD + b"text\r\n--frontier",
        HEAD + b"text\r\n--frontier\r\n",
        b"--frontier\r\nContent-Type: text/plain\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n" + b"X" * 100_000,
        b"--frontier\r\n" + b"X: y\r\n" * 1000 + b"\r\nx\r\n--frontier--\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_what_is_no_form_or_not_all_of_one_is_refused(data: bytes, step: int) -> None:
    with pytest.raises(ProblemError):
        read(data, step)


def test_a_form_needs_a_boundary() -> None:
    with pytest.raises(ProblemError, match="no boundary"):
        read(b"", 1, "multipart/form-data")
