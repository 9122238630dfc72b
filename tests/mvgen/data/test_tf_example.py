"""The walk over an Example's bytes against protobuf's own reading of them."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError

from mvgen.data import tf_example


def by_protobuf(data: bytes) -> dict[str, list[bytes]]:
    features = tf_example._example_class().FromString(data).features.feature
    return {name: list(feature.bytes_list.value) for name, feature in features.items()}


def walked(data: bytes) -> dict[str, list[bytes]]:
    return {name: [bytes(value) for value in values] for name, values in tf_example.parse(data).items()}


def test_values_are_views_of_what_was_given() -> None:
    values = {"frames": bytes(range(256)) * 3, "\u97f3": b"", "clip_id": b"x"}
    data = np.frombuffer(tf_example.serialise(values), np.uint8)
    found = tf_example.parse(data)
    assert {name: [bytes(value) for value in parts] for name, parts in found.items()} == {
        name: [value] for name, value in values.items()
    }
    assert np.shares_memory(np.frombuffer(found["frames"][0], np.uint8), data)
    assert tf_example.serialise(values) == tf_example.serialise(dict(reversed(values.items())))


def test_messages_in_pieces_and_unknown_fields_are_read_as_protobuf_reads_them() -> None:
    one = tf_example.serialise({"a": b"first", "b": b"second"})
    again = tf_example.serialise({"a": b"third"})
    unknown = b"\x10\x96\x01" + b"\x1d\x01\x02\x03\x04" + b"\x21" + bytes(8) + b"\x2a\x02hi"
    for data in (b"", one + again, unknown + one, one + unknown, b"\x0a\x00", b"\x0a\x02\x0a\x00"):
        assert walked(data) == by_protobuf(data)
    assert walked(one + again)["a"] == [b"third"]


def test_damage_is_refused_where_protobuf_refuses_it() -> None:
    """Thousands of flipped, cut and lengthened messages: the same values, or both refuse."""
    whole = tf_example.serialise({"tokens": b"\x00\x01" * 30, "clip_id": b"a clip", "notes": b"", "\u97f3": b"\xff"})
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(4000):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        if rng.random() < 0.2:
            data = data[: rng.integers(len(data))]
        try:
            expected = by_protobuf(bytes(data))
        except DecodeError:
            expected = None
        try:
            found = walked(bytes(data))
        except ValueError as error:
            found = None
            assert "Example" in str(error)
            # Groups are the one thing that protobuf reads (and skips) and the walk does not.
            if expected is not None:
                assert "wire type" in str(error)
                continue
        assert found == expected
        refused += found is None
    assert 500 < refused < 3900


@pytest.mark.parametrize("data", [b"\xff" * 40, b"\x0a\x05", b"\x80", b"\x00\x01", b"\x0b"])
def test_what_is_no_example_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a serialised tf\.train\.Example"):
        tf_example.parse(data)
