"""mvgen: what a musician's movements and the music have to do with each other, learned in both directions.

import mvgen
model = mvgen.load()  # the model that comes with mvgen; or a folder: mvgen.load("runs/demo/train")
model.video_to_music("performance.mp4").save("performance with music.mp4")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mvgen.pretrained import RECITAL

if TYPE_CHECKING:
    from mvgen.api import Pipeline

__version__ = "0.2.0"


PRETRAINED = RECITAL
"""Folder of the model that comes with mvgen: trained on Recital, both directions; its card is README.md there."""


def load(
    checkpoint: str | os.PathLike[str] = PRETRAINED, *, semantic: str = "", landmarks: str = "", text_encoder: str = ""
) -> Pipeline:
    """Reads a trained model, ready for both directions, retrieval and sync.

    Args:
        checkpoint: a training folder (the newest of its steps is taken), one of its steps, or an exported model
            (docs/export.md): its folder, or ``hub:owner/model``, fetched from the Hugging Face hub. By default the
            model that comes with mvgen.
        semantic, landmarks: for a model that sees semantic embeddings or landmarks of frames: where what makes them
            lies, if not where it lay for the records.
        text_encoder: for a model that reads text: folder or hub name of the T5 that embeds prompts.

    Returns:
        :class:`mvgen.api.Pipeline`. JAX is imported here, not by ``import mvgen``.

    Raises:
        mvgen.errors.UserError: it is no checkpoint, or cannot be read; one line says why.
    """
    from mvgen.api import Pipeline

    return Pipeline(checkpoint, semantic=semantic, landmarks=landmarks, text_encoder=text_encoder)
