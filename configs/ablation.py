"""The base configuration without its film part: what `python -m mvgen.ablate` trains at full length.

What is compared are ways from the picture to the music and the space between them; the film would only cost time.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()

    config.loss.video = 0.0
    config.loss.movement = 0.0

    config.train.eval_every = 0
    config.train.checkpoint_every = 1000
    config.train.keep_checkpoints = 1
    return config
