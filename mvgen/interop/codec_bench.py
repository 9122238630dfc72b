"""EnCodec's part of ``python -m mvgen.bench music``: both engines encode and decode the same sound."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mvgen.errors import UserError
from mvgen.interop.encodec import codec_folder, load_encodec
from mvgen.interop.musicgen_bench import timed

PACKAGED = "encodec_tiny"
"""What is measured beside the tiny decoder; beside MusicGen's own sizes it is MusicGen's codec, with random weights."""

MUSICGEN: dict[str, Any] = {
    "upsampling_ratios": [8, 5, 4, 4], "target_bandwidths": [2.2], "num_filters": 64, "sampling_rate": 32_000,
    "codebook_size": 2048, "use_causal_conv": False, "normalize": False, "use_conv_shortcut": False,
}  # fmt: skip
"""Fields of transformers' ``EncodecConfig``, as published."""


class CodecCase(NamedTuple):
    """Sounds at once, their length, and the clock (see :data:`mvgen.interop.musicgen_bench.CLOCKS`)."""

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
    import torch
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    model: Any = EncodecModel(EncodecConfig(**MUSICGEN))
    for layer in model.quantizer.layers:  # fresh ones are zero, and every code the same
        layer.codebook.embed.normal_()
    model.save_pretrained(folder / "codec")
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
    try:
        import torch
        from transformers import EncodecModel
    except ImportError:
        raise UserError("the reference needs torch and transformers: pip install -e .[prep]") from None
    if hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = EncodecModel.from_pretrained(folder)
    model = model.to(device).eval()
    bandwidth = model.config.target_bandwidths[-1]
    results = []
    for case in cases:
        sound = torch.from_numpy(case.sound(model.config.sampling_rate))[:, None].to(device)

        def encode(sound: Any = sound) -> Any:
            with torch.no_grad():
                return model.encode(sound, bandwidth=bandwidth).audio_codes.cpu()

        codes = encode()
        there = codes.to(device)

        def decode(codes: Any = there) -> None:
            with torch.no_grad():
                model.decode(codes, [None]).audio_values.cpu()

        results.append(_figures(case, codes[0].permute(0, 2, 1).numpy(), repeats, encode, decode))
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
