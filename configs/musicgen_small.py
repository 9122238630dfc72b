"""MusicGen small, fine-tuned on video: its published decoder (420 M parameters) beside the towers of configs/gpu.py.

python -m mvgen.main --config=musicgen_small --workdir=runs/musicgen --config.data.path=DIR

The records' tokens must be those of MusicGen's own codec (`data_prep convert --codec encodec_32khz`). The weights are
fetched from their hub, or read from a folder: --config.init_from=FOLDER. Their licence (CC-BY-NC-4.0) holds for what is
trained from them. `mvgen.export --format musicgen` gives it back to transformers without loss (docs/musicgen.md). With
--config.model.frame_locked=False, --config.model.cross_positions=none and --config.model.cross_window=0 the decoder
stays of MusicGen's very form, and learns alignment more slowly.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("gpu.py")))["get_config"]()
    config.init_from = "facebook/musicgen-small"
    config.data.batch_size = 32

    config.model.decoder_width = 1024
    config.model.decoder_heads = 16
    config.model.decoder_layers = 24
    config.model.decoder_hidden = 4096
    config.model.text_width = 768  # T5-base's: keeps MusicGen's way to read text
    config.model.cross_positions = "time_bias"  # the time bias of the frames; the words beside them have none
    config.model.frame_locked = True  # starts by adding nothing to a dropped video
    config.model.token_head = False
    config.model.previous_timesteps = 0

    config.loss.history_corruption = 0.0

    config.optimizer.learning_rate = 1e-4
    config.optimizer.weight_decay = 0.01
    return config
