"""The note head alone, on the frozen rest of a run that has learned alignment and music.

    python -m mvgen.main --config=notes --workdir=runs/notes --config.data.path=DIR --config.init_from=runs/film

The result holds all of the model: what it began with as it was, and the note head. The records must know their notes.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()
    config.model.notes_width = 128

    config.loss.align = 0.0
    config.loss.music = 0.0
    config.loss.token_head = 0.0
    config.loss.video = 0.0
    config.loss.movement = 0.0
    config.loss.notes = 1.0
    config.optimizer.learning_rate = 2e-3
    config.train.frozen = "encoder,decoder,movement,denoiser"

    config.train.steps = 2000
    config.train.eval_every = 1000
    config.train.checkpoint_every = 500
    return config
