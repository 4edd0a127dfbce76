import io
from dataclasses import replace
from pathlib import Path

import pytest

from storage.output.counts import Status
from storage.output.manifest import FaceRow, MemberRow, assemble, decode_part, encode_part
from storage.output.output import Output
from storage.output.sample import (
    FACE_BINS,
    FACE_SIZES,
    Sample,
    Spread,
    read_sample,
    throughput,
)
from tests.services import S3


def face(member: int, rank: int, side: float = 40.0) -> FaceRow:
    crop = f"crops/{member}.jpg_{rank}.jpg"
    return FaceRow(rank, 0, 1.0, 2.0, side / 2, side, 0.875, None, 0, 0, 60, 0.0, 1.0, crop)


def cropped(member: int, faces: int = 1, side: float = 40.0) -> MemberRow:
    rows = [face(member, rank, side) for rank in range(faces)]
    return MemberRow(
        member, f"{member}.jpg", Status.CROPPED, 9, width=64, height=48, face_rows=rows
    )


def failed(member: int) -> MemberRow:
    return MemberRow(member, f"{member}.jpg", Status.FAILED, 9, error="x", message="It is bad.")


def no_face(member: int) -> MemberRow:
    return MemberRow(member, f"{member}.jpg", Status.NO_FACE, 9, width=64, height=48)


def skipped(member: int) -> MemberRow:
    return MemberRow(member, "a.txt", Status.SKIPPED, 9, error="not_an_image")


def sample(rows: list[MemberRow], members: int = 10, faces: int = 10, failures: int = 2) -> Sample:
    manifest, face_rows = io.BytesIO(), io.BytesIO()
    part = decode_part("part", encode_part(rows))
    assemble([("part", part)], len(rows), manifest, face_rows, io.StringIO(), io.StringIO())
    return read_sample(manifest, face_rows, members, faces, failures)


def test_a_small_batch_is_there_whole() -> None:
    found = sample([cropped(0, 2), no_face(1), skipped(2), failed(3)])
    assert [row["member"] for row in found.members] == [0, 1, 2, 3]
    assert found.members[0] == {
        "member": 0,
        "path": "0.jpg",
        "status": "cropped",
        "error": None,
        "width": 64,
        "height": 48,
        "faces": 2,
        "warnings": [],
        "file": None,
    }
    assert [face["crop"] for face in found.faces] == ["crops/0.jpg_0.jpg", "crops/0.jpg_1.jpg"]
    assert (found.faces[0]["member"], found.faces[0]["h"], found.faces[0]["score"]) == (
        0,
        40,
        0.875,
    )
    assert found.failures == [{"member": 3, "path": "3.jpg", "error": "x", "message": "It is bad."}]


def test_a_large_batch_is_sampled_evenly() -> None:
    found = sample([cropped(member, 2) for member in range(1000)], members=10, faces=5)
    assert [row["member"] for row in found.members] == list(range(0, 1000, 100))
    assert found.member_faces == 20
    assert [face["crop"] for face in found.faces] == [
        f"crops/{member}.jpg_0.jpg" for member in range(0, 1000, 200)
    ]


def test_one_image_with_very_many_faces_fits_the_bound() -> None:
    found = sample([cropped(0, 5000), cropped(1)], faces=7)
    assert found.member_faces == 5001
    assert len(found.faces) == 7


def test_the_spread_of_heads_is_told_to_a_thousandth() -> None:
    rows = [
        replace(face(0, rank), head_height=0.5 + rank / 1000, eye_line=0.4) for rank in range(101)
    ]
    rows.append(face(0, 101))  # without landmarks
    found = sample([replace(cropped(0), face_rows=rows)]).spreads
    assert found == {
        "head_height": Spread(0.505, 0.55, 0.595),
        "eye_line": Spread(0.4, 0.4, 0.4),
    }
    assert sample([cropped(0)]).spreads == {}


def test_only_the_first_failures_are_kept() -> None:
    found = sample([no_face(0), *(failed(member) for member in range(1, 9))], failures=3)
    assert [row["member"] for row in found.failures] == [1, 2, 3]


def test_counts_are_of_all_of_the_batch() -> None:
    rows = [cropped(0, 3), cropped(1, 10), cropped(2, 25), no_face(3), skipped(4), failed(5)]
    found = sample(rows, members=1, faces=1)
    assert found.faces_per_image == [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2]
    assert found.face_sizes[FACE_SIZES.index(16)] == sum(found.face_sizes) == 38
    assert found.face_values["score"][17] == sum(found.face_values["score"]) == 38
    assert sum(found.face_values["sharpness"]) == 0  # that of an older Facecrop is another


@pytest.mark.parametrize(
    ("side", "start"), [(1, 0), (15.9, 0), (16, 16), (47.9, 32), (1024, 1024), (9000, 1024)]
)
def test_a_face_is_counted_by_its_shorter_side(side: float, start: int) -> None:
    found = sample([cropped(0, 1, 2 * side)])
    assert found.face_sizes[FACE_SIZES.index(start)] == 1


@pytest.mark.parametrize(
    ("name", "values", "place"),
    [
        ("sharpness", {"sharpness": 0.0}, 0),
        ("sharpness", {"sharpness": 0.41}, 10),
        ("sharpness", {"sharpness": 1.0}, 24),
        ("yaw", {"yaw": -52.0}, 10),
        ("yaw", {"yaw": 4.9}, 0),
        ("yaw", {"yaw": 130.0}, 17),
        ("score", {"score": 1.0}, 19),
    ],
)
def test_a_face_is_counted_by_what_it_is_like(
    name: str, values: dict[str, float], place: int
) -> None:
    one = replace(face(0, 0), sharpness_scale=0.25, **values)  # type: ignore[arg-type]
    row = replace(cropped(0), face_rows=[one])
    counts = sample([row]).face_values[name]
    assert len(counts) == len(FACE_BINS[name])
    assert [number for number, count in enumerate(counts) if count] == [place]


def test_what_is_not_known_is_in_no_bin() -> None:
    row = replace(cropped(0), face_rows=[replace(face(0, 0), score=None)])
    assert {sum(counts) for counts in sample([row]).face_values.values()} == {0}


@pytest.mark.parametrize("rows", [[], [no_face(0)]], ids=["no member", "no face"])
def test_a_batch_may_have_nothing_to_show(rows: list[MemberRow]) -> None:
    found = sample(rows)
    assert len(found.members) == len(rows)
    assert found.faces == []
    assert sum(found.face_sizes) == 0


def test_throughput_counts_members_by_when_their_chunk_was_committed() -> None:
    done = throughput(1000.0, {0: 1002.0, 1: 1009.5, 2: 1010.0}, {0: 64, 1: 64, 2: 5}, 5)
    assert (done.seconds, done.members) == (2.0, [0, 64, 0, 0, 69])


def test_throughput_takes_chunks_that_were_not_read_for_their_neighbours_like() -> None:
    times = {chunk: 1000.0 + chunk for chunk in range(101)}
    done = throughput(1000.0, times, {0: 10, 100: 10}, 10)
    assert (done.seconds, sum(done.members)) == (10.0, 1010)


def test_no_span_is_shorter_than_a_second() -> None:
    done = throughput(1000.0, {0: 1000.2, 1: 1002.5}, {0: 8, 1: 8}, 60)
    assert (len(done.members), sum(done.members)) == (3, 16)
    assert throughput(1000.0, {0: 1000.0}, {0: 8}, 60).members == [8]


def test_a_clock_that_is_behind_loses_nothing() -> None:
    done = throughput(1000.0, {0: 990.0, 1: 1000.0}, {0: 8, 1: 8}, 2)
    assert (done.seconds, done.members) == (5.0, [8, 8])


def test_throughput_may_be_unknown() -> None:
    assert throughput(1000.0, {}, {}, 60).members == []


@pytest.mark.parametrize("kind", ["local", "memory", pytest.param("s3", marks=pytest.mark.service)])
def test_an_output_tells_when_its_parts_were_committed_and_their_sizes(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = {"local": str(tmp_path), "memory": f"memory://{tmp_path.name}"}.get(kind)
    if place is None:
        s3: S3 = request.getfixturevalue("s3")
        place = f"s3://{s3.bucket}/{tmp_path.name}"
    output = Output(place)
    output.claim({"format": 1, "archive": {}, "settings": {}}, "resume")
    output.put_part(3, encode_part([no_face(0), no_face(1)]))
    output.put_part(7, encode_part([no_face(2)]))
    times = output.part_times()
    assert times.keys() == {3, 7} == output.parts()
    assert 0 <= times[7] - times[3] < 60
    assert output.part_sizes([3, 7]) == [2, 1]
