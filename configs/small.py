"""Films of 256 x 256 through the latents of an image autoencoder, for one GPU.

    python -m data_prep convert --input DIR --out records --config.autoencoder=taesd --config.frame_size=256,256 ...
    python -m mvgen.main --config=small --workdir=runs/small --config.data.path=records

Latents of 32 x 32 places (8 pixels each), in patches of two: 256 tokens a frame. The records hold latents instead of
frames, so the video tower sees optical flow (and semantic embeddings, where they hold them).
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("gpu.py")))["get_config"]()
    config.data.batch_size = 32

    config.model.use_frames = False
    config.model.use_latents = True
    config.model.movement_width = 256
    config.model.movement_heads = 4
    config.model.movement_layers = 4
    config.model.denoiser_width = 512
    config.model.denoiser_heads = 8
    config.model.denoiser_layers = 12
    config.model.denoiser_patch = 2
    config.model.denoiser_frames = 25

    config.loss.video_examples = 8
    return config
