"""An ONNX file's dimensions, changed in its bytes.

The `onnx` package does this too, but importing it takes longer than cropping a hundred faces. Only
the few fields that lead to a dimension are parsed; all else is copied as it stands. Field
numbers are those of the ONNX specification's onnx.proto, the wire format is Protocol Buffers'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

_MODEL_GRAPH = 7
_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 11, 12, 13
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_SHAPE = 2
_SHAPE_DIMENSION = 1
_DIMENSION_VALUE, _DIMENSION_NAME = 1, 2

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # the wire types that proto3 writes
_VARINT_BYTES = 10  # of 64 bits, at most

Names: TypeAlias = Mapping[str, Mapping[int, str]]
"""By name of an input or output, the names of those of its dimensions that are to be open."""
_Change: TypeAlias = Callable[[bytes], bytes | None]


class MalformedModelError(Exception):
    """The bytes are no ONNX model, or have no such inputs, outputs or dimensions."""


def open_dimensions(model: bytes, inputs: Names, outputs: Names) -> bytes:
    """Leave dimensions open that a model has fixed, so that it takes arrays of other sizes.

    What the file says of the shapes between its layers is dropped, as it would contradict that.

    Args:
        model: an ONNX file.
        inputs, outputs: all of them have to be there.

    Returns:
        The changed file.

    Raises:
        MalformedModelError: it is no model, or has no such dimensions.
    """
    model = _with_open_values(model, _GRAPH_INPUT, inputs)
    model = _with_open_values(model, _GRAPH_OUTPUT, outputs)
    return _changed(model, (_MODEL_GRAPH, _GRAPH_VALUE_INFO), _dropped)


def _with_open_values(model: bytes, field: int, names: Names) -> bytes:
    """A model whose inputs or outputs, whichever the field holds, have open dimensions."""
    found = set()

    def change(info: bytes) -> bytes:
        name = _name(info)
        if name not in names:
            return info
        found.add(name)
        return _with_open_dimensions(info, names[name])

    changed = _changed(model, (_MODEL_GRAPH, field), change)
    if found != names.keys():
        raise MalformedModelError("It lacks an input or output.")
    return changed


def _name(info: bytes) -> str:
    name = b""
    for number, _, contents in _fields(info):
        if number == _VALUE_NAME:
            name = contents
    return name.decode(errors="replace")


def _with_open_dimensions(info: bytes, names: Mapping[int, str]) -> bytes:
    """A ValueInfoProto whose dimensions at these positions have a name instead of a size."""
    position = 0

    def change(dimension: bytes) -> bytes:
        nonlocal position
        name = names.get(position)
        position += 1
        if name is None:
            return dimension
        for alternative in (_DIMENSION_VALUE, _DIMENSION_NAME):  # any other field stays
            dimension = _changed(dimension, (alternative,), _dropped)
        return dimension + _field(_DIMENSION_NAME, name.encode())

    changed = _changed(info, (_VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIMENSION), change)
    if position <= max(names):
        raise MalformedModelError("An input or output has fewer dimensions.")
    return changed


def _dropped(_: bytes) -> None:
    return None


def _changed(message: bytes, path: Sequence[int], change: _Change) -> bytes:
    """A message with what lies at a path of fields changed, or without it where that gives None."""
    parts = []
    for number, field, contents in _fields(message):
        if number != path[0]:
            parts.append(field)
            continue
        changed = _changed(contents, path[1:], change) if path[1:] else change(contents)
        if changed is not None:
            parts.append(_field(number, changed))
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The number of each field, the field as it stands, and its contents."""
    end = 0
    while end < len(message):
        start = end
        key, contents = _varint(message, start)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            _, end = _varint(message, contents)
        elif wire_type == _BYTES:
            size, contents = _varint(message, contents)
            end = contents + size
        elif wire_type in (_EIGHT_BYTES, _FOUR_BYTES):
            end = contents + (8 if wire_type == _EIGHT_BYTES else 4)
        else:
            raise MalformedModelError(f"There is no wire type {wire_type}.")
        if number == 0 or end > len(message):
            raise MalformedModelError("A field has no number, or reaches past its message.")
        yield number, message[start:end], message[contents:end]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = 0
    for index, byte in enumerate(message[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise MalformedModelError("A number has no end.")


def _field(field: int, contents: bytes) -> bytes:
    """A field of bytes, on the wire."""
    return _as_varint(field << 3 | _BYTES) + _as_varint(len(contents)) + contents


def _as_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
