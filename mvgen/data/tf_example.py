"""The message that a record is: ``tf.train.Example`` with one bytes value a feature, written and read in place.

Written through protobuf, with a descriptor built on the spot that is wire compatible with TensorFlow's. Read without
it: protobuf copies every value twice on its way to Python, which took more time than reading the file; walking over the
lengths instead gives each value where it lies. The tests hold the walk to what protobuf makes of the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types (protobuf.dev/programming-guides/encoding); groups, 3 and 4, no Example holds."""


@cache
def _example_class() -> Any:
    """A protobuf message class with the field numbers of ``tf.train.Example``, in a pool of its own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="mvgen/example.proto", package="mvgen", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, int, str | None]) -> Any:
        proto = file.message_type.add(name=name)
        for field_name, number, label, field_type, type_name in fields:
            proto.field.add(name=field_name, number=number, label=label, type=field_type, type_name=type_name)
        return proto

    one, many = kind.LABEL_OPTIONAL, kind.LABEL_REPEATED
    message("BytesList", ("value", 1, many, kind.TYPE_BYTES, None))
    # float_list (2) and int64_list (3) are never used by these records; unknown fields are skipped.
    message("Feature", ("bytes_list", 1, one, kind.TYPE_MESSAGE, ".mvgen.BytesList"))
    features = message("Features", ("feature", 1, many, kind.TYPE_MESSAGE, ".mvgen.Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.field.add(name="key", number=1, label=one, type=kind.TYPE_STRING)
    entry.field.add(name="value", number=2, label=one, type=kind.TYPE_MESSAGE, type_name=".mvgen.Feature")
    entry.options.map_entry = True
    message("Example", ("features", 1, one, kind.TYPE_MESSAGE, ".mvgen.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mvgen.Example"))


def serialise(values: Mapping[str, bytes]) -> bytes:
    """An ``Example`` with one bytes value a feature; the same values always give the same bytes."""
    example = _example_class()()
    for name, value in values.items():
        example.features.feature[name].bytes_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """The variable-length integer at a place, and the place after it."""
    value = shift = 0
    while shift < 64:
        if place >= len(data):
            raise ValueError("a number runs over the end")
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("a number has too many bytes")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and contents of every length-delimited field of a message; number 0 for a field of another type."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"there is no field {number}")
        if wire_type == VARINT:
            _, end = _varint(data, place)
            size = end - place
        elif wire_type == BYTES:
            size, place = _varint(data, place)
        elif wire_type in (FIXED64, FIXED32):
            size = 8 if wire_type == FIXED64 else 4
        else:
            raise ValueError(f"there is no wire type {wire_type} in an Example")
        if size > len(data) - place:
            raise ValueError("a field runs over the end")
        yield (number if wire_type == BYTES else 0), data[place : place + size]
        place += size


def parse(data: Any) -> dict[str, list[memoryview]]:
    """The bytes values of every feature, as views of ``data`` (anything with a contiguous buffer of bytes).

    Raises:
        ValueError: not a serialised ``Example``.
    """
    found: dict[str, list[memoryview]] = {}
    try:
        for features in (part for number, part in _fields(memoryview(data)) if number == 1):
            for entry in (part for number, part in _fields(features) if number == 1):
                name, values, known = "", list[memoryview](), True
                for number, part in _fields(entry):
                    if number == 1:
                        name = bytes(part).decode()
                    elif number == 2:
                        lists = (inner for kind, inner in _fields(part) if kind == 1)
                        values += [value for inner in lists for kind, value in _fields(inner) if kind == 1]
                    else:
                        known = False
                if known:  # protobuf, too, leaves an entry out that holds anything else
                    found[name] = values
    except ValueError as error:  # a name that is no UTF-8 is one too
        raise ValueError(f"not a serialised tf.train.Example: {error}") from None
    return found
