"""A checkpoint at hand: its model, its codec, and the readers that make of files what it was trained on."""

from __future__ import annotations

import os
from functools import cached_property

import numpy as np

from mvgen.data.loader import window_frames
from mvgen.inference.embedding import Space
from mvgen.inference.inputs import FilmReader, load_codec, read_autoencoder
from mvgen.interop.hub import folder_of
from mvgen.interop.image_autoencoder import ImageAutoencoder
from mvgen.models.codec import Codec
from mvgen.training.checkpoint import load_model
from mvgen.training.weights_file import EXPORTED_FILES


class Loaded:
    """What all that is done with a checkpoint shares, each part read when it is first needed and then kept.

    Args:
        checkpoint: a training folder, one of its steps, an exported model, or ``hub:owner/model``, which is fetched.
        encoder, landmarks: see :class:`mvgen.inference.inputs.FilmReader`.

    Attributes:
        model, config, spec: the model, its run's configuration, and what its records hold.
        window: frames that it was trained on at a time.

    Raises:
        UserError: it is no checkpoint, or cannot be read.
    """

    def __init__(self, checkpoint: str | os.PathLike[str], encoder: str = "", landmarks: str = ""):
        self.checkpoint = folder_of(os.fspath(checkpoint), EXPORTED_FILES)
        self.model, self.config, self.spec = load_model(self.checkpoint)
        self.window = window_frames(self.config.data.window_seconds)
        self._encoder, self._landmarks = encoder, landmarks

    @cached_property
    def codec(self) -> Codec:
        """What the model's tokens belong to."""
        return load_codec(self.spec)

    @cached_property
    def films(self) -> FilmReader:
        """Reads films as the model's records were made."""
        return FilmReader(self.checkpoint, self.model.config, self._encoder, self._landmarks)

    @cached_property
    def space(self) -> Space:
        """The coordinated space."""
        return Space(self.model, self.window)

    @cached_property
    def autoencoder(self) -> ImageAutoencoder | None:
        """Whose latents the model films in, if it does."""
        return read_autoencoder(self.checkpoint, self.model.config)

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) of the frames that it films."""
        if self.autoencoder is not None:
            assert self.spec.latent_shape is not None
            return self.autoencoder.frame_size(self.spec.latent_shape)
        assert self.spec.frame_size is not None
        return self.spec.frame_size

    def read_film(self, path: str, frames: int | None = None) -> dict[str, np.ndarray]:
        """The first ``frames`` of a film, or all; see :meth:`mvgen.inference.inputs.FilmReader.read`."""
        film = self.films.read(path)
        return film if frames is None else {name: values[:frames] for name, values in film.items()}
