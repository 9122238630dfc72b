"""EnCodec's part of ``python -m mvgen.bench music``: both engines encode and decode the same sound."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mvgen.benchmarks.music import timed
from mvgen.interop.encodec import codec_folder, load_encodec
from mvgen.interop.reference import ReferenceCodec, write_random_codec

PACKAGED = "encodec_tiny"
"""What is measured beside the tiny decoder; beside MusicGen's own sizes it is MusicGen's codec, with random weights."""


class CodecCase(NamedTuple):
    """Sounds at once, their length, and the clock (see :data:`mvgen.benchmarks.music.CLOCKS`)."""

    batch: int
    seconds: float
    clock: str = "wall"

    def sound(self, sampling_rate: int) -> np.ndarray:
        """Noise under a swell, ``[batch, samples]``."""
        samples = round(self.seconds * sampling_rate)
        swell = 0.1 * np.sin(np.arange(samples) / sampling_rate * 7) ** 2
        return (swell * np.random.default_rng(0).standard_normal((self.batch, samples))).astype(np.float32)


Result = tuple[dict[str, float], np.ndarray]
"""Seconds of sound that are encoded and decoded in a second, and the codes ``[batch, tokens, codebooks]``."""


def write_codec(folder: Path, size: str) -> str:
    """The folder of the codec that belongs to a size of the decoder; written, with random weights, where need be."""
    if size == "tiny":
        return codec_folder(PACKAGED)
    write_random_codec(folder / "codec")
    return os.fspath(folder / "codec")


def run_ours(folder: str, cases: list[CodecCase], repeats: int) -> list[Result]:
    """Times ours."""
    codec = load_encodec(folder)
    results = []
    for case in cases:
        sound = case.sound(codec.sampling_rate)
        codes = np.asarray(codec.encode(sound))

        def encode(sound: np.ndarray = sound) -> Any:
            return jax.block_until_ready(codec.encode(sound))

        def decode(codes: np.ndarray = codes) -> Any:
            return jax.block_until_ready(codec.decode(codes))

        results.append(_figures(case, codes, repeats, encode, decode))
    return results


def run_transformers(folder: str, cases: list[CodecCase], repeats: int) -> list[Result]:
    """Times transformers' ``EncodecModel`` on torch."""
    codec = ReferenceCodec(folder)
    results = []
    for case in cases:
        encode = codec.encoder(case.sound(codec.sampling_rate))
        codes = encode()
        results.append(_figures(case, codes, repeats, encode, codec.decoder(codes)))
    return results


def _figures(
    case: CodecCase, codes: np.ndarray, repeats: int, encode: Callable[[], Any], decode: Callable[[], Any]
) -> Result:
    """The best of ``repeats``, after a first call of each that compiles."""
    taken = []
    for call in (encode, decode):
        call()
        taken.append(min(timed(call, case.clock)[0] for _ in range(repeats)))
    length = case.batch * case.seconds
    return {"encoded_per_s": length / taken[0], "decoded_per_s": length / taken[1]}, codes
