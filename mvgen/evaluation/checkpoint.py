"""Scores a checkpoint on held-out records: its losses, and retrieval and offset in the coordinated space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mvgen.data.loader import Windows, used_features, window_frames
from mvgen.data.records import RecordSource
from mvgen.evaluation.metrics.retrieval import retrieval
from mvgen.inference.batch import coordinates
from mvgen.models.mvgen import MVGen
from mvgen.training import held_out
from mvgen.training.checkpoint import load_model

BATCH = 16
"""Windows that go through the encoder together."""


def score_checkpoint(config: ConfigDict, workdir: str | Path) -> dict[str, Any]:
    """The newest checkpoint of ``workdir`` (averaged parameters) on held-out records.

    Args:
        config: of it ``data.path`` (where given), ``data.eval_split`` and ``train.eval_batches`` are taken; all else is
            as the run was configured.
        workdir: of the run.

    Returns:
        Losses by name and ``step`` (:func:`mvgen.training.held_out.evaluate`, over ``train.eval_batches`` batches), and
        ``retrieval`` (:func:`mvgen.evaluation.metrics.retrieval.retrieval`, over all records of the split, each with
        its chance), ``window_seconds`` in it. Without ``retrieval`` where the run was not trained to align.

    Raises:
        UserError: no checkpoint, or records that it was not trained on.
    """
    losses: dict[str, Any] = held_out.evaluate(config, workdir)
    model, run, spec = load_model(workdir)
    if not run.loss.align:
        return losses
    path = config.data.path or run.data.path
    source = RecordSource(path, config.data.eval_split, used_features(spec, model.config))
    windows = Windows(source, window_frames(run.data.window_seconds))
    return losses | {"retrieval": {"window_seconds": run.data.window_seconds, **score_space(model, windows)}}


def score_space(model: MVGen, windows: Windows) -> dict[str, float]:
    """Retrieval among the first windows of all records that hold one, and offset within each."""
    latents = []
    numbers = [int(number) for number in windows.usable]
    for start in range(0, len(numbers), BATCH):
        # The last batch is filled up, so that there is one shape, compiled once.
        chosen = (numbers[start : start + BATCH] + numbers)[:BATCH] if len(numbers) >= BATCH else numbers
        cut = [windows.first(number) for number in chosen]
        batch = {name: np.stack([window[name] for window in cut]) for name in cut[0]}
        tokens = batch.pop("tokens")
        video, audio = coordinates(model, batch, tokens, windows.frames)
        kept = len(numbers[start : start + BATCH])
        latents.append((video[:kept], audio[:kept]))
    video, audio = (np.concatenate(part) for part in zip(*latents, strict=True))
    return retrieval(video, audio)
