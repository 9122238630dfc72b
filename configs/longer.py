"""The base configuration trained three times as long: for some hundreds of clips more than the demo's, on two cores.

    python -m data_prep recital --out runs/records900 --records --clips 900 --seed 1 --test-percent 4 \
        --instruments keyboard,strings,keyboard,strings,drums
    python -m mvgen.main --config=longer --workdir=runs/longer --config.data.path=runs/records900

What it reaches is told in docs/robustness.md.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("base.py")))["get_config"]()

    config.train.steps = 7000
    config.train.eval_every = 3500
    return config
