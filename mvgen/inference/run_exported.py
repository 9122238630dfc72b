"""Runs the model in this folder with jax and numpy alone, for the one length that it was exported for (README.md).

python run.py music film.npz music.wav   what of the film example.npz holds -> sound; its tokens in music.npy
python run.py video scene.npz film.npy   image, and tokens or sound -> frames
python run.py check                      example.npz again: whether tokens and frames are those of mvgen
"""

import json
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax import export


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The float32 tensors of a safetensors file, by name."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    spans = {n: (v["shape"], *v["data_offsets"]) for n, v in json.loads(data[8:end]).items() if n != "__metadata__"}
    return {n: np.frombuffer(data[end + a : end + b], np.float32).reshape(shape) for n, (shape, a, b) in spans.items()}


def load(folder: Path, name: str) -> Callable[..., dict[str, np.ndarray]]:
    """One of the folder's programs, as a function of its inputs by name; ``seed`` is 0 where it is not given."""
    exported = export.deserialize(bytearray((folder / f"{name}.jax_export").read_bytes()))
    (wanted, inputs), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    tensors = read_tensors(folder / "model.safetensors") | read_tensors(folder / "beside.safetensors")
    weights, program = {key: jax.numpy.asarray(tensors[key]) for key in wanted}, jax.jit(exported.call)

    def run(**given: np.ndarray) -> dict[str, np.ndarray]:
        values = {key: np.asarray({"seed": 0, **given}[key]).astype(inputs[key].dtype) for key in inputs}
        for key in (key for key in inputs if values[key].shape != inputs[key].shape):
            sys.exit(f"{name}: {key} is {values[key].shape}, and this export is for {inputs[key].shape}")
        return jax.device_get(program(weights, values))

    return run


if __name__ == "__main__":
    folder, (direction, *files) = Path(__file__).resolve().parent, sys.argv[1:] or [""]
    if (direction, len(files)) not in (("music", 2), ("video", 2), ("check", 0)):
        sys.exit(__doc__)
    given = dict(np.load(files[0] if files else folder / "example.npz"))
    given |= load(folder, "listen")(**given) if direction == "video" and "tokens" not in given else {}
    made = {} if direction == "video" else load(folder, "music")(**given)
    made |= {} if direction == "music" else load(folder, "video")(**given)
    if direction == "check":
        grey = np.abs(made["film"].astype(int) - given["film"]).max()
        print(f"{np.sum(made['tokens'] != given['tokens'])} tokens differ, frames by {grey} grey levels at most")
    else:
        np.save(Path(files[1]).with_suffix(".npy"), made["film" if direction == "video" else "tokens"])
    if direction == "music":
        with wave.open(files[1], "wb") as file:
            file.setparams((1, 2, made["sound"].size * 50 // len(made["tokens"]), 0, "NONE", ""))
            file.writeframes(np.rint(np.clip(made["sound"], -1, 1) * 32767).astype("<i2").tobytes())
