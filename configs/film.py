"""The film part alone, on the frozen encoder of a run that has learned alignment and music.

    python -m mvgen.main --config=film --workdir=runs/film --config.data.path=DIR --config.init_from=runs/music

The result holds all of the model: what it began with as it was, and the film part. A batch is larger than the base's:
planning movement costs little and learns from every example of it; reading, carrying and painting do from
`loss.video_examples`.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()
    config.data.batch_size = 16

    config.loss.align = 0.0
    config.loss.music = 0.0
    config.loss.token_head = 0.0
    config.loss.video_examples = 4
    config.optimizer.learning_rate = 2e-3
    config.train.frozen = "encoder,decoder"

    config.train.steps = 500
    config.train.eval_every = 250
    config.train.checkpoint_every = 250
    return config
