"""A child of the sandbox that lies of images with a certain ending, the lie's name behind it.

Run with `python -m`.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import IO, Any
from unittest.mock import patch

from detection.image import crop_faces
from detection.result import Image
from detection.sandbox import child
from detection.sandbox.protocol import LENGTHS, send

LIES = b"this one lies: "
_lie = ""


def _changed(**fields: Any) -> Callable[[Any, bytes], bytes]:
    def lie(reply: Any, blob: bytes) -> bytes:
        return _message(json.dumps({**reply, **fields}).encode(), blob)

    return lie


def _face(**fields: Any) -> Callable[[Any, bytes], bytes]:
    def lie(reply: Any, blob: bytes) -> bytes:
        reply["crops"][0].update(fields)
        return _message(json.dumps(reply).encode(), blob)

    return lie


def _message(text: bytes, blob: bytes) -> bytes:
    return LENGTHS.pack(len(text), len(blob)) + text + blob


def _raw(text: bytes) -> Callable[[Any, bytes], bytes]:
    return lambda reply, blob: _message(text, blob)


ANSWERS: dict[str, Callable[[Any, bytes], bytes]] = {
    "a rank that is a path": _face(rank="/../../x"),
    "a rank that is another's": _face(rank=1),
    "a rank that is true": _face(rank=False),
    "a box of strings": _face(box=["1", "2", "3", "4"]),
    "a box of NaN": _face(box=[float("nan")] * 4),
    "a box of infinity": _face(box=[float("inf")] * 4),
    "a box elsewhere": _face(box=[9000.0, 9000.0, 100.0, 100.0]),
    "a frame elsewhere": _face(frame=[[1.0, 0, 0, 0, 1.0, 0], 300, 300, [0, 0, 300], True]),
    "a frame of infinity": _face(frame=[[float("inf")] * 6, 300, 300, [0, 0, 300], True]),
    "a frame without end": _face(frame=[[1.0, 0, 0, 0, 1.0, 0], 1 << 40, 1, [0, 0, 1 << 40], True]),
    "a turn by less than a quarter": _face(turn=45),
    "a turn of true": _face(turn=True),
    "a score above 1": _face(score=1.5),
    "landmarks of another shape": _face(landmarks=[[1.0, 2.0]] * 6),
    "a sharpness below 0": _face(sharpness=-1.0),
    "a sharpness above 1": _face(sharpness=1.5),
    "a sharpness at a third of the size": _face(sharpness_scale=1 / 3),
    "a brightness of more than bytes have": _face(brightness=256.0),
    "a contrast of more than bytes have": _face(contrast=128.0),
    "a rank that its size does not give": _face(pick_score=0.99),
    "a pick score of NaN": _face(pick_score=float("nan")),
    "a crop without bytes": _face(data=0),
    "a crop longer than the bytes": _face(data=1 << 40),
    "one more field": _face(path="/etc/passwd"),
    "a photograph": _changed(photo=1),
    "a format of a photograph": _changed(photo_format="jpg"),
    "no faces and their bytes": _changed(crops=[]),
    "no list of faces": _changed(crops=7),
    "a width of 10 ** 30": _changed(width=10**30),
    "a width of true": _changed(width=True),
    "a height of 0": _changed(height=0),
    "a time of NaN": _changed(decode_ms=float("nan")),
    "less CPU than none": _changed(cpu_ms=-1.0),
    "a digest that is a path": _changed(sha256="../" * 21 + "a"),
    "a hash that is a path": _changed(phash="../" * 5 + "a"),
    "a hash of other digits": _changed(phash="\u0661" * 16),
    "another image's answer": _changed(number=7),
    "an unknown error": _raw(b'{"number": 1, "error": "nonsense", "message": "A."}'),
    "an error and bytes": _raw(b'{"number": 1, "error": "corrupt_image", "message": "A."}'),
    "a message of lines": lambda *_: _message(
        b'{"number": 1, "error": "corrupt_image", "message": "A\\n\\u001b[31mB"}', b""
    ),
    "a name with a surrogate": lambda *_: _message(
        b'{"number": 1, "failure": "\\ud800", "trace": ""}', b""
    ),
    "no JSON": _raw(b"\xff{"),
    "an empty object": _raw(b"{}"),
    "brackets": _raw(b"[" * 60_000),
    "a number without end": _raw(b'{"number": ' + b"9" * 60_000 + b"}"),
    "no message": lambda *_: b"\0" * 3,
    "a text of 2 ** 40 bytes": lambda *_: LENGTHS.pack(1 << 40, 0),
    "bytes of 2 ** 40": lambda reply, blob: LENGTHS.pack(2, 1 << 40) + b"{}",
    "a crop that is a script": lambda reply, blob: _message(
        json.dumps(reply).encode(), b"<script>".ljust(len(blob))
    ),
}
"""What a liar writes instead of a reply and its bytes."""


def _send(pipe: IO[bytes], text: bytes, blob: bytes) -> None:
    if not _lie:
        send(pipe, text, blob)
    elif _lie == "stops":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif _lie == "dribbles":
        for byte in _message(text, blob):
            pipe.write(bytes([byte]))
            pipe.flush()
            time.sleep(1)
    elif _lie == "leaves its pipe to another":
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
        os._exit(0)
    elif _lie == "answers twice":
        send(pipe, text, blob)
        send(pipe, text, blob)
    else:
        pipe.write(ANSWERS[_lie](json.loads(text), blob))
        pipe.flush()


def _crop_faces(data: bytes, *others: Any) -> Image:
    global _lie
    _, lies, lie = data[-80:].partition(LIES)
    _lie = lie.decode() if lies else ""
    return crop_faces(data, *others)


if __name__ == "__main__":
    with patch.object(child, "crop_faces", _crop_faces), patch.object(child, "send", _send):
        child.main()
