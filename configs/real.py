"""The sync task alone, for few real performances: alignment of picture and sound, with the camera moved.

    python -m mvgen.robustness --real FOLDS --config real --out DIR

docs/real.md says what this finds on real clips.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()

    config.data.batch_size = 8
    config.loss.music = 0.0
    config.loss.token_head = 0.0
    config.loss.video = 0.0
    config.loss.movement = 0.0

    config.augment.zoom = 0.15
    config.augment.turn = 5.0
    config.augment.pan = 0.05

    config.train.steps = 600
    config.train.eval_every = 0
    config.train.checkpoint_every = 600
    config.train.keep_checkpoints = 1
    return config
