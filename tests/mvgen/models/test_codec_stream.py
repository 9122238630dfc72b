"""The codec's decoder in pieces: the same sound as in one, early, and nothing heard at the seams."""

from __future__ import annotations

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.interop.encodec import load_encodec
from mvgen.models.codec import Codec
from mvgen.models.codec_stream import DecodeStream
from tests.mvgen.models.test_codec import make_reference


def in_pieces(codec: Codec, codes: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Sound after each piece of so many tokens, and after the end."""
    stream = DecodeStream(codec, len(codes))
    cuts = np.cumsum(sizes)[:-1]
    found = [stream.push(piece) for piece in np.split(codes, cuts, axis=1)]
    return [*found, stream.push(codes[:, :0], last=True)]


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [("musicgen", [1, 4, 9, 9, 9]), ("musicgen", [3]), ("causal", [6, 10, 10, 1]), ("trimmed", [12, 12])],
)
def test_pieces_are_the_whole(tmp_path, architecture: str, sizes: list[int]) -> None:
    make_reference(tmp_path, architecture)
    codec = load_encodec(str(tmp_path))
    codes = np.random.default_rng(0).integers(0, codec.codebook_size, (2, sum(sizes), codec.codebooks))
    whole = np.asarray(codec.decode(codes))
    made = in_pieces(codec, codes, sizes)
    joined = np.concatenate(made, axis=1)
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() <= 1e-5 * np.abs(whole).max()


def test_sound_comes_as_soon_as_it_is_known() -> None:
    codec = load_encodec("encodec_tiny")
    codes = np.random.default_rng(0).integers(0, 512, (1, 75, 4))
    assert DecodeStream(codec).lag <= 5  # a tenth of a second
    made = in_pieces(codec, codes, [25, 25, 25])
    assert [piece.shape[1] // codec.hop for piece in made] == [20, 25, 25, 5]
    with pytest.raises(UserError, match="512"):
        DecodeStream(codec).push(np.full((1, 2, 4), 512))


def test_nothing_is_heard_where_pieces_meet() -> None:
    codec = load_encodec("encodec_tiny")
    time = np.arange(2 * 32_000) / 32_000
    tone = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.1 * np.sin(2 * np.pi * 661 * time)
    codes = np.asarray(codec.encode(tone.astype(np.float32)[None]))
    sizes = [25, 25, 25, 25]
    seams = (np.cumsum(sizes)[:-1] - DecodeStream(codec).lag) * codec.hop

    def loudest(sound: np.ndarray) -> tuple[float, float]:
        """The largest jump from sample to sample at a seam, and within 50 ms around the seams."""
        jumps = np.abs(np.diff(sound))
        at = max(jumps[seam - 2 : seam + 2].max() for seam in seams)
        near = max(np.delete(jumps[seam - 1600 : seam + 1600], np.arange(1590, 1610)).max() for seam in seams)
        return at, near

    joined = np.concatenate(in_pieces(codec, codes, sizes), axis=1)[0]
    at, near = loudest(joined)
    assert at <= near
    # The measure hears a click where there is one.
    steps = np.arange(len(joined))[:, None] > seams
    at, near = loudest(joined + 0.2 * steps.sum(axis=1))
    assert at > near
