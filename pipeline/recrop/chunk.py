"""One chunk of a recrop: what is wanted of it read, cut, and committed at each output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from pipeline.chunk import StoppedError, part_of, pictures
from pipeline.images import ImagePool
from pipeline.member import CroppedMember
from pipeline.recrop.batch import Recrop
from pipeline.recrop.member import Wanted, first_faces, recut_members, unwanted
from pipeline.recrop.reading import read_members
from storage.archives.members import Chunk, Entry
from storage.output.forgetting import blank_row
from storage.output.layouts import LAYOUTS
from storage.output.manifest import MemberRow, encode_part, member_rows
from storage.output.tombs import Tombs
from storage.output.wanted import wanted_faces


def recrop_chunk(batch: Recrop, chunk: Chunk, images: ImagePool, *, last_attempt: bool) -> int:
    """Recrop one chunk; its arguments, result and errors are those of `pipeline.chunk.crop_chunk`.

    May run any number of times, anywhere, to the same result.
    """
    batch.progress.begin(chunk.number)
    rows, wanted = _read(batch, chunk)
    kept = [CroppedMember(unwanted(row), []) for row in rows if row.member not in wanted]
    for member in kept:
        batch.progress.add(chunk.number, member.row)

    def entries() -> Iterator[Entry]:
        if not wanted:
            return
        for entry in read_members(batch.archive, chunk, wanted, last_try=last_attempt):
            if batch.stop.is_set():
                raise StoppedError(f"Chunk {chunk.number} was given up.")
            yield entry

    def work(taken: Iterable[Entry]) -> Iterator[list[CroppedMember]]:
        for cut in recut_members(taken, chunk, wanted, batch):
            batch.show(cut[0])
            batch.progress.add(chunk.number, cut[0].row)
            yield cut

    cut = images.map(work, entries())
    for number, target in enumerate(batch.targets):
        if chunk.number in target.done:  # an earlier run was ended between two outputs
            continue
        members = [*kept, *(some[number] for some in cut)]
        members.sort(key=lambda member: member.row.member)
        members = [_without_forgotten(member, target.output.tombs) for member in members]
        layout = LAYOUTS[target.settings.output.layout]
        crops = layout.files(list(chain.from_iterable(map(pictures, members))))
        target.output.put_crops(chunk.number, crops)
        part = encode_part([member.row for member in members], target.output.claimed)
        target.output.put_part(chunk.number, part)
    batch.progress.commit(chunk.number)
    return chunk.count


def _without_forgotten(member: CroppedMember, tombs: Tombs) -> CroppedMember:
    """A member, or what stands for one that is not to come back into this output."""
    row = member.row
    if tombs and (row.sha256 in tombs.sha256s or tombs.hold(row.member, row.path, None)):
        return CroppedMember(blank_row(row.member), [])
    return member


def _read(batch: Recrop, chunk: Chunk) -> tuple[list[MemberRow], dict[int, Wanted]]:
    """The rows that a chunk has in the batch, and the members with faces that are wanted."""
    part = part_of(batch.source, batch.archive, chunk)
    chosen = None if batch.where is None else wanted_faces(part, batch.where)
    most = [target.settings.crop.max_faces for target in batch.targets]
    rows, wanted = [*member_rows(part)], {}
    for row in rows:
        faces = [
            face for face in row.face_rows if chosen is None or (row.member, face.rank) in chosen
        ]
        if faces:
            wanted[row.member] = Wanted(row, first_faces(faces, max(most) if all(most) else 0))
    return rows, wanted
