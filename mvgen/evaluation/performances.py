"""Both directions for every record of a split, as films to watch and to score, with retrieval in the latent space.

OUT/codec, OUT/music, OUT/video, OUT/attention.npz    see :mod:`mvgen.inference.batch`
OUT/held_out.json    settings, retrieval on the coordinated latents, and how long each part took (music beside video)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mvgen import clock
from mvgen.data.loader import window_frames
from mvgen.data.records import RecordSource
from mvgen.errors import UserError
from mvgen.evaluation.metrics.retrieval import retrieval
from mvgen.files import write_json
from mvgen.inference.batch import perform
from mvgen.inference.inputs import load_codec, read_autoencoder
from mvgen.inference.music_to_video import Filming
from mvgen.inference.sampling import Sampling
from mvgen.training.checkpoint import load_model


def perform_split(
    checkpoint: str,
    records: str,
    out: Path,
    sampling: Sampling,
    filming: Filming,
    *,
    split: str = "test",
    seed: int = 0,
    batch: int = 16,
    originals: str | None = None,
    limit: int = 0,
    film: bool = True,
) -> dict[str, Any]:
    """Generates both directions for the records of a split (arguments as for :func:`mvgen.inference.batch.perform`).

    Returns:
        What is written to ``held_out.json``.

    Raises:
        UserError: no such checkpoint, records or folder, or records that the model was not trained on.
    """
    model, config, spec = load_model(checkpoint)
    codec = load_codec(spec)
    source = RecordSource(records, split)
    if not source.spec.serves(spec, model.config.sees_landmarks):
        raise UserError(f"{records} holds {source.spec}, the model was trained on {spec}")
    sounds = Path(originals) if originals else None
    if sounds and not sounds.is_dir():
        raise UserError(f"--originals {sounds}: no such folder")
    window = window_frames(config.data.window_seconds)
    made = perform(
        model, codec, source, out, window, sampling, filming, seed=seed, batch=batch, originals=sounds, limit=limit,
        autoencoder=read_autoencoder(checkpoint, model.config), film=film,
    )  # fmt: skip
    summary = {
        "clips": len(made.names),
        "window_seconds": window / clock.FRAME_RATE,
        "seed": seed,
        "sampling": vars(sampling),
        "filming": vars(filming),
        "retrieval": retrieval(made.video, made.audio),
        "seconds": made.seconds,
    }
    write_json(out / "held_out.json", summary)
    return summary
