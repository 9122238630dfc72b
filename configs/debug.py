"""The base configuration made tiny: for tests, and to see in seconds that everything runs. It learns nothing of use.

python -m mvgen.main --config=debug --workdir=runs/debug --config.data.path=DIR
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()
    config.data.window_seconds = 0.4
    config.data.batch_size = 4
    config.data.threads = 2

    config.model.width = 16
    config.model.heads = 2
    config.model.video_layers = 1
    config.model.audio_layers = 1
    config.model.latent_dim = 8
    config.model.patch = 4
    config.model.decoder_layers = 1
    config.model.movement_width = 16
    config.model.movement_heads = 2
    config.model.movement_layers = 1
    config.model.denoiser_width = 16
    config.model.denoiser_layers = 1
    config.model.denoiser_heads = 2
    config.model.denoiser_patch = 4
    config.model.denoiser_frames = 4

    config.loss.max_shift_seconds = 0.12
    config.loss.video_examples = 2

    config.optimizer.warmup_steps = 2

    config.train.steps = 6
    config.train.log_every = 2
    config.train.eval_every = 3
    config.train.eval_batches = 2
    config.train.checkpoint_every = 3
    return config
