"""The base configuration made small enough to be trained many times over on one core: for `python -m mvgen.ablate`.

Narrower, without the video part, and with encoder and token decoder that both learn from the first step to the last, so
that a run of some hundred steps shows what they make of the picture.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()

    config.model.width = 96
    config.model.video_layers = 1
    config.model.audio_layers = 1
    config.model.decoder_layers = 2
    config.model.recent_moments = 0  # what is compared are ways in for the picture
    config.model.denoiser_width = 16  # never trained here
    config.model.denoiser_layers = 1

    config.loss.video = 0.0
    config.loss.sketch = 0.0
    config.loss.music_from = 0
    config.loss.encoder_until = 0
    config.loss.wrong_past = 0.0

    config.optimizer.learning_rate = 2e-3
    config.optimizer.decoder_rate = 1.0
    config.optimizer.warmup_steps = 20

    config.train.steps = 400
    config.train.ema = 0.98
    config.train.log_every = 50
    config.train.eval_every = 0
    config.train.checkpoint_every = 200
    config.train.keep_checkpoints = 1
    return config
