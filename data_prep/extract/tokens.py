"""Audio tokens: EnCodec's codes, through transformers or audiocraft.

One code path loads every preset: ``encodec_tiny`` from the package, ``encodec_32khz`` (the codec of MusicGen, from its
hub; its weights are CC-BY-NC-4.0), or any folder or hub name in transformers' format. ``audiocraft:NAME`` is read by
audiocraft instead (:mod:`data_prep.extract.audiocraft`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Iterator
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from data_prep.extract.audiocraft import audiocraft_hash, is_audiocraft, load_audiocraft
from mvgen.clock import CODEC_SAMPLE_RATE, TOKEN_RATE
from mvgen.errors import UserError
from mvgen.interop.hub import announce
from mvgen.interop.weights import ready

PACKAGED = ("encodec_tiny",)
"""Presets whose weights come with the package, in ``mvgen/codecs``."""
HUB = {"encodec_32khz": "facebook/encodec_32khz"}
"""Presets that transformers fetches, or finds among what it has fetched."""
SAMPLES_PER_TOKEN = CODEC_SAMPLE_RATE // TOKEN_RATE
"""640."""
BATCH = 32
"""Stretches of sound that go through the codec together, where several do."""
WAITING = 4 * BATCH
"""Stretches that wait for others of their length at most, over all lengths (of 10 s: 164 MB)."""

Key = TypeVar("Key", bound=Hashable)


def codec_location(name: str) -> str:
    """A folder, or a hub name, for a preset, a folder or a hub name. Raises ``UserError`` where it is none of these."""
    if name in PACKAGED:
        return str(resources.files("mvgen") / "codecs" / name)
    if name not in HUB and not os.path.isdir(name):
        try:
            announce(name)
        except ValueError as error:
            raise UserError(_not_found(name, error)) from None
    return HUB.get(name, name)


def weights_hash(name: str) -> str:
    """sha256 of the codec's weights file: which codec exactly made these tokens.

    Raises:
        UserError: there is no such file.
    """
    if is_audiocraft(name):
        return audiocraft_hash(name)
    location = codec_location(name)
    if os.path.isdir(location):
        path = Path(location) / "model.safetensors"
        if not path.is_file():
            raise UserError(f"codec {name!r}: {location} holds no model.safetensors")
    else:
        from transformers.utils import cached_file

        try:
            path = Path(str(cached_file(location, "model.safetensors")))
        except (OSError, ValueError) as error:
            raise UserError(_not_found(name, error)) from None
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _not_found(name: str, error: Exception) -> str:
    return (
        f"codec {name!r} is neither a preset ({', '.join((*PACKAGED, *HUB))}), nor a folder in transformers' format, "
        f"nor a model that the hub gives here: {str(error).splitlines()[0]}"
    )


class _Transformers:
    """An EnCodec of transformers with the methods of audiocraft's ``CompressionModel`` that are called here."""

    def __init__(self, name: str, device: str | None):
        import torch
        from transformers import EncodecModel
        from transformers.utils import logging

        logging.set_verbosity_error()  # the progress bars and advice of a library are not ours to print
        logging.disable_progress_bar()
        try:
            model = EncodecModel.from_pretrained(codec_location(name), dtype=torch.float32)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(_not_found(name, error)) from None
        self._name, self._model = name, ready(model, device)
        config = model.config
        self.sample_rate, self.channels = int(config.sampling_rate), int(config.audio_channels)
        self.frame_rate = self.sample_rate / float(np.prod(config.upsampling_ratios))
        self.cardinality = int(config.codebook_size)

    def parameters(self) -> Any:
        return self._model.parameters()

    def encode(self, samples: Any) -> tuple[Any, Any]:
        """Sound ``[batch, 1, n]`` to codes ``[batch, codebooks, time]`` and no scale."""
        # The highest bandwidth: every codebook there is.
        encoded = self._model.encode(samples, bandwidth=self._model.config.target_bandwidths[-1])
        codes = encoded.audio_codes  # [chunks, batch, codebooks, time]
        if codes.shape[0] != 1:
            raise UserError(f"codec {self._name!r} cuts sound into chunks of its own, which the clock forbids")
        return codes[0], None

    def decode(self, codes: Any) -> Any:
        """Codes ``[batch, codebooks, time]`` to sound ``[batch, 1, n]``."""
        return self._model.decode(codes[None], [None]).audio_values


class TokenExtractor:
    """Sound to codes. Pickles by name; the weights are loaded on first use, in the process that uses them.

    Args:
        codec: see the module's text.
        device: "cpu" or "cuda"; by default a GPU where there is one.
    """

    def __init__(self, codec: str = "encodec_tiny", device: str | None = None):
        self.codec = codec
        self._device = device

    def __getstate__(self) -> dict[str, Any]:
        return {"codec": self.codec, "_device": self._device}

    @cached_property
    def _model(self) -> Any:
        load = load_audiocraft if is_audiocraft(self.codec) else _Transformers
        model = load(self.codec, self._device)
        if (model.sample_rate, model.frame_rate, model.channels) != (CODEC_SAMPLE_RATE, TOKEN_RATE, 1):
            raise UserError(
                f"codec {self.codec!r} works at {model.sample_rate} Hz, {model.frame_rate:g} tokens a second and "
                f"{model.channels} channels; the clock needs {CODEC_SAMPLE_RATE} Hz, {TOKEN_RATE} and 1"
            )
        return model

    @cached_property
    def codebooks(self) -> int:
        """Codes of each token."""
        return self.extract(np.zeros(SAMPLES_PER_TOKEN * 2, np.float32)).shape[1]

    @property
    def codebook_size(self) -> int:
        """Entries of a codebook."""
        return int(self._model.cardinality)

    def extract(self, sound: np.ndarray) -> np.ndarray:
        """Codes of one stretch of sound.

        Args:
            sound: float32 ``[n]`` at 32 kHz, loudness as it is; the codec sees nothing before or after it.

        Returns:
            int16 ``[ceil(n / 640), codebooks]``.

        Raises:
            ValueError: the sound is empty, not one-dimensional, or holds numbers that are not finite.
        """
        _check(sound)
        return self._encode(sound[None])[0]

    def extract_many(
        self, sounds: Iterable[tuple[Key, np.ndarray]], batch: int = BATCH
    ) -> Iterator[tuple[Key, np.ndarray]]:
        """Codes of many stretches of sound, those of one length together, each as :meth:`extract` gives them.

        Only of one length: the codec looks to both sides, so that filling up a shorter one would change its last
        codes. Results come in the order in which batches fill, whatever the order of ``sounds``, which is read as they
        are needed.

        Args:
            sounds: (any key, float32 ``[n]``) as for :meth:`extract`.
            batch: how many together at most.

        Yields:
            (key, int16 ``[ceil(n / 640), codebooks]``).

        Raises:
            ValueError: as :meth:`extract`.
        """
        waiting: dict[int, list[tuple[Key, np.ndarray]]] = {}
        for key, sound in sounds:
            _check(sound)
            waiting.setdefault(len(sound), []).append((key, sound))
            full = [length for length, group in waiting.items() if len(group) == batch]
            if not full and sum(map(len, waiting.values())) >= WAITING:
                full = [max(waiting, key=lambda length: len(waiting[length]))]
            for length in full:
                yield from self._together(waiting.pop(length))
        for group in waiting.values():
            yield from self._together(group)

    def _together(self, group: list[tuple[Key, np.ndarray]]) -> Iterator[tuple[Key, np.ndarray]]:
        yield from zip([key for key, _ in group], self._encode(np.stack([sound for _, sound in group])), strict=True)

    def _encode(self, sounds: np.ndarray) -> np.ndarray:
        """float32 ``[batch, n]`` to int16 ``[batch, ceil(n / 640), codebooks]``."""
        import torch

        samples = torch.from_numpy(np.array(sounds, np.float32))[:, None]
        with torch.inference_mode():
            codes, scale = self._model.encode(samples.to(self._place))
        if scale is not None:
            raise UserError(f"codec {self.codec!r} keeps the loudness outside its codes; records have no place for it")
        return np.ascontiguousarray(codes.transpose(1, 2).cpu().numpy()).astype(np.int16)

    @property
    def _place(self) -> Any:
        """The device that the weights are on."""
        return next(iter(self._model.parameters())).device

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """The sound that codes stand for.

        Args:
            tokens: int16 ``[n, codebooks]``, each within the codebook.

        Returns:
            float32 ``[640 n]`` at 32 kHz.
        """
        import torch

        codes = torch.from_numpy(np.array(tokens.T, np.int64))[None].to(self._place)
        with torch.inference_mode():
            sound = self._model.decode(codes)
        return sound[0, 0].float().cpu().numpy()


def _check(sound: np.ndarray) -> None:
    if sound.ndim != 1 or not len(sound) or not np.isfinite(sound).all():
        raise ValueError("sound must be [n], n > 0, and finite")
