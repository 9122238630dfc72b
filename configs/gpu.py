"""A larger MVGen for one GPU, in bfloat16: some 85 M parameters, batches of 64 windows.

python -m mvgen.main --config=gpu --workdir=runs/gpu --config.data.path=DIR
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()
    config.data.batch_size = 64
    config.data.window_seconds = 4.0
    config.data.workers = 4
    config.data.threads = 8

    config.model.dtype = "bfloat16"
    config.model.width = 512
    config.model.heads = 8
    config.model.video_layers = 4
    config.model.audio_layers = 4
    config.model.latent_dim = 128
    config.model.decoder_layers = 12
    config.model.denoiser_width = 384
    config.model.denoiser_layers = 8
    config.model.denoiser_heads = 6
    config.model.denoiser_patch = 8
    config.model.denoiser_frames = 16

    config.loss.video_examples = 0

    config.optimizer.learning_rate = 3e-4
    config.optimizer.decoder_rate = 1.0
    config.optimizer.warmup_steps = 500

    config.train.steps = 20_000
    config.train.ema = 0.9995
    config.train.eval_every = 1000
    config.train.checkpoint_every = 1000
    return config
