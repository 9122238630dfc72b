"""A TPU v5e slice of sixteen chips (4 x 4): MusicGen-small's size of decoder beside towers and denoiser of its width.

launch/tpu_vm.sh create train TYPE=v5litepod-16 -- --config=pod_v5e_16 --workdir=DIR --config.data.path=DIR

What it takes of each chip: docs/scaling.md. No such slice has trained it.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

RECORDS = {"codebook_size": 2048, "codec": "encodec_32khz"}
"""What `mvgen.train_compile` takes the records to be, where they differ from Recital's."""


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("gpu_h100_8.py")))["get_config"]()
    config.data.batch_size = 64

    config.model.decoder_layers = 24
    config.model.decoder_width = 1024
    config.model.decoder_heads = 16
    config.model.decoder_hidden = 4096
    config.model.token_head = False
    config.model.previous_timesteps = 0

    config.mesh.fsdp = 16
    return config
