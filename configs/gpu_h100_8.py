"""One machine of eight H100: the model of configs/gpu.py made some ten times as large, parameters split over all eight.

python -m mvgen.main --config=gpu_h100_8 --workdir=runs/h100 --config.data.path=DIR    (one process sees all eight)
launch/slurm.sh -- --config=gpu_h100_8 --workdir=DIR --config.data.path=DIR            (one process a GPU)

What it takes of each GPU: docs/scaling.md. No such machine has trained it.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("gpu.py")))["get_config"]()
    config.data.batch_size = 128

    config.model.width = 1024
    config.model.heads = 16
    config.model.video_layers = 12
    config.model.audio_layers = 12
    config.model.latent_dim = 256
    config.model.decoder_layers = 24
    config.model.denoiser_width = 1024
    config.model.denoiser_heads = 16
    config.model.denoiser_layers = 12

    config.loss.video_stretches = 1

    config.optimizer.spike = 10.0

    config.train.remat = "layers"
    config.train.scan_layers = True

    config.mesh.fsdp = 8
    return config
