"""A held-out window played and filmed while a run goes on, for TensorBoard."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np

from mvgen import clock
from mvgen.data.records import RecordSpec
from mvgen.inference.inputs import load_codec
from mvgen.inference.music_to_video import Filming, generate_video
from mvgen.inference.sampling import Sampling
from mvgen.inference.video_to_music import generate_music
from mvgen.models.codec import Codec
from mvgen.models.mvgen import MVGen
from mvgen.training.sample import Sample

SAMPLING, FILMING = Sampling(), Filming()


@cache
def _codec(spec: RecordSpec) -> Codec:
    return load_codec(spec)


def play_and_film(
    model: MVGen,
    spec: RecordSpec,
    window: dict[str, np.ndarray],
    film: bool,
    sampling: Sampling = SAMPLING,
    filming: Filming = FILMING,
) -> Sample:
    """Plays what is seen in a window, and films what is heard in it.

    Args:
        model: of the run.
        spec: of its records.
        window: ``tokens`` and what the model sees of the picture, without an axis of the batch.
        film: whether to film, too; not for models that film in latents.
        sampling, filming: how tokens and frames are drawn, from seed 0.

    Raises:
        UserError: the records' codec is not here.
    """
    codec, keys = _codec(spec), jax.random.split(jax.random.key(0), 1)
    tokens = window["tokens"][None].astype(np.int32)
    seen = {name: values[None] for name, values in window.items() if name != "tokens"}
    length = clock.frames_of(len(window["tokens"]))
    made = generate_music(model, seen, keys, sampling, length)
    music, own = (np.asarray(codec.decode(each))[0] for each in (made, tokens))
    if not film or "frames" not in window or model.config.use_latents:
        return Sample(music, own, codec.sampling_rate)
    filmed = generate_video(model, window["frames"][None, 0], tokens, keys, filming, length)[0]
    return Sample(music, own, codec.sampling_rate, filmed, window["frames"])
