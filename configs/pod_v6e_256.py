"""A whole TPU v6e pod, 256 chips (16 x 16): the model of configs/pod_v5p_256.py, in a third of the memory a chip.

launch/tpu_vm.sh create train TYPE=v6e-256 VERSION=v2-alpha-tpuv6e -- --config=pod_v6e_256 --workdir=DIR ...

What it takes of each chip: docs/scaling.md. No such pod has trained it.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

RECORDS = {"codebook_size": 2048, "codec": "encodec_32khz", "frame_size": (480, 640), "flow_size": (30, 40)}
"""What `mvgen.train_compile` takes the records to be, where they differ from Recital's."""


def get_config() -> ConfigDict:
    """Returns the configuration (locked: unknown fields are errors)."""
    config = runpy.run_path(str(Path(__file__).with_name("pod_v5p_256.py")))["get_config"]()
    config.data.batch_size = 16
    config.mesh.fsdp = 16
    config.mesh.context = 16
    return config
