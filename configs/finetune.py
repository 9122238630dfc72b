"""Fine-tunes the model that comes with mvgen on 10 to 100 clips of one's own: the space and the music.

    python -m data_prep convert --input VIDEOS --out RECORDS --config.frame_size="(128,128)"
    python -m mvgen.main --config=finetune --workdir=runs/mine --config.data.path=RECORDS

Few clips are soon known by heart, so it stops by itself: when held-out loss has not fallen for `train.stop_after`
evaluations. The best state is kept, and what it reached is said. docs/finetune.md has figures, and how films go on.
"""

import json
import runpy
from pathlib import Path

from ml_collections import ConfigDict

import mvgen


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()
    config.init_from = mvgen.PRETRAINED
    config.model.update(json.loads((Path(mvgen.PRETRAINED) / "config.json").read_text())["model"])

    config.loss.video = 0.0
    config.loss.movement = 0.0

    # One's own camera stands in one place, and so few clips say little of any other.
    config.augment.zoom = 0.1
    config.augment.turn = 4.0
    config.augment.pan = 0.04

    config.data.batch_size = 8
    config.optimizer.learning_rate = 5e-4
    config.train.ema = 0.98
    config.train.steps = 400
    config.train.eval_every = 25
    config.train.eval_batches = 4  # few clips are held out
    config.train.stop_after = 4
    config.train.checkpoint_every = 100
    return config
