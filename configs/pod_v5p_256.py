"""A TPU v5p slice of 256 chips (4 x 8 x 8): MusicGen-large's decoder (3.3 B), a denoiser of 4.4 B, 480p, 10 s.

launch/tpu_vm.sh create train TYPE=v5p-512 -- --config=pod_v5p_256 --workdir=DIR --config.data.path=DIR

Frames of 480 x 640 pixels in patches of 16: 1,200 places a frame, as many as latents of an eightfold autoencoder in
patches of 2. The window is 256 frames, 10.24 s, which context parallelism divides. What it takes of each chip:
docs/scaling.md. No such slice has trained it.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

RECORDS = {"codebook_size": 2048, "codec": "encodec_32khz", "frame_size": (480, 640), "flow_size": (30, 40)}
"""What `mvgen.train_compile` takes the records to be, where they differ from Recital's."""


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("pod_v5e_16.py")))["get_config"]()
    config.data.window_seconds = 10.24
    config.data.batch_size = 64

    config.model.patch = 16
    config.model.width = 1536
    config.model.heads = 12
    config.model.video_layers = 24
    config.model.audio_layers = 24
    config.model.decoder_layers = 48
    config.model.decoder_width = 2048
    config.model.decoder_heads = 32
    config.model.decoder_hidden = 8192
    config.model.denoiser_patch = 16
    config.model.denoiser_width = 3072
    config.model.denoiser_heads = 24
    config.model.denoiser_layers = 24
    config.model.denoiser_frames = 256

    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup_steps = 2000

    config.train.steps = 200_000
    config.train.ema = 0.9999

    config.mesh.fsdp = 64
    config.mesh.context = 4
    return config
