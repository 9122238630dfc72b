"""What `make demo` trains first: the base configuration in as many minutes as one waits for on two cores.

    python -m mvgen.main --config=demo --workdir=runs/music --config.data.path=DIR
    python -m mvgen.main --config=film --workdir=runs/film --config.data.path=DIR --config.init_from=runs/music

Two things differ from the base, for time alone. The film part is left out and trained afterwards on what this has made
(configs/film.py): trained beside it from the first step, it takes more than half of every step, and the latents that it
reads mean nothing yet for most of them. And there are fewer steps.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()

    config.loss.video = 0.0
    config.loss.movement = 0.0

    config.train.steps = 1800
    config.train.eval_every = 900
    config.train.checkpoint_every = 600
    return config
