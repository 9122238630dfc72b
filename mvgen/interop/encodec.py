"""Reads an EnCodec in transformers' format (``config.json`` and ``model.safetensors``) without transformers."""

from __future__ import annotations

import hashlib
import json
import os
from importlib import resources

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from mvgen.errors import UserError
from mvgen.interop.hub import hub_folder, is_hub_name
from mvgen.models.codec import Codec, CodecConfig, Convolution, EncodecNetwork, Recurrence, TransposedConvolution

PACKAGED = ("encodec_tiny",)
"""Codecs whose weights travel with mvgen."""

TRAINING_STATE = ("inited", "cluster_size", "embed_avg")
"""What a codebook keeps for its own training; nothing here reads it."""


HUB = {"encodec_32khz": "facebook/encodec_32khz"}
"""Presets that the hub's client fetches, or finds among what it has fetched: MusicGen's own codec."""

FILES = ("config.json", "model.safetensors")
"""What is read of a codec."""


def codec_folder(name: str, fetch: bool = True) -> str:
    """The folder of a codec: a packaged one, a folder itself, or a preset or name of the hub.

    Only presets are fetched (unless ``fetch`` is False): names in records are others' words, and a name of the hub
    counts where its files were fetched before.

    Raises:
        UserError: there is none.
    """
    if name in PACKAGED:
        return str(resources.files("mvgen.codecs") / name)
    if os.path.isdir(name):
        return name
    if name in HUB:
        return str(hub_folder(HUB[name], FILES, cached=not fetch))
    if is_hub_name(name):
        return str(hub_folder(name, FILES, cached=True))
    raise UserError(f"no codec {name!r}: neither a preset ({', '.join((*PACKAGED, *HUB))}) nor a folder")


def load_encodec(name: str) -> Codec:
    """Loads a codec.

    Args:
        name: "encodec_tiny", "encodec_32khz" (fetched when it is not there), or a folder with ``config.json`` and
            ``model.safetensors`` as ``save_pretrained`` of transformers' ``EncodecModel`` writes them.

    Raises:
        UserError: no such folder or file, another architecture, or tensors that are missing, too many or of another
            shape (each is named).
    """
    folder = codec_folder(name)
    config_path, weights_path = (os.path.join(folder, file) for file in ("config.json", "model.safetensors"))
    try:
        with open(config_path, encoding="utf-8") as file:
            config = CodecConfig.from_dict(json.load(file))
        tensors = load_file(weights_path)
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no {os.path.basename(error.filename or 'model.safetensors')}") from error
    except (json.JSONDecodeError, SafetensorError) as error:
        raise UserError(f"cannot read the codec in {folder}: {error}") from error
    network = EncodecNetwork(config)
    fill(network, tensors, source=folder)
    return Codec(network, name)


def load_codebooks(name: str) -> np.ndarray:
    """The codebooks of a codec alone, float32 ``[codebooks, entries, dim]``; ``name`` as for :func:`load_encodec`, but
    nothing is fetched.

    Raises:
        UserError: no such folder or file, or no codebooks in it.
    """
    path = os.path.join(codec_folder(name, fetch=False), "model.safetensors")
    books: list[np.ndarray] = []
    try:
        with safe_open(path, framework="numpy") as tensors:
            names = set(tensors.keys())
            while (key := f"quantizer.layers.{len(books)}.codebook.embed") in names:
                books.append(tensors.get_tensor(key).astype(np.float32))
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read the codec in {path}: {error}") from error
    if not books:
        raise UserError(f"{path} holds no codebooks")
    return np.stack(books)


def fill(network: EncodecNetwork, tensors: dict[str, np.ndarray], source: str) -> None:
    """Puts transformers' tensors into the network, in place, weight norm folded.

    Args:
        network: of the same configuration.
        tensors: by transformers' names, any float type.
        source: where they come from, for the message.

    Raises:
        UserError: naming every tensor that is missing, too many or of another shape.
    """
    reader = _Reader(tensors)
    for path, module in nnx.iter_modules(network):
        place = ".".join(str(part) for part in path)
        if isinstance(module, Convolution):
            # torch: [out, in, taps]; here: [taps, in, out].
            shape = module.kernel.shape[::-1]
            _set(module.kernel, reader.folded(f"{place}.conv", shape).transpose(2, 1, 0))
            _set(module.bias, reader.take(f"{place}.conv.bias", module.bias.shape))
        elif isinstance(module, TransposedConvolution):
            # torch: [in, out, taps]; here: [taps, in, out].
            taps, inputs, outputs = module.kernel.shape
            _set(module.kernel, reader.folded(f"{place}.conv", (inputs, outputs, taps)).transpose(2, 0, 1))
            _set(module.bias, reader.take(f"{place}.conv.bias", module.bias.shape))
        elif isinstance(module, Recurrence):
            _fill_recurrence(module, reader, f"{place}.lstm")
    size, dimension = network.entries.shape[1:]
    entries = []
    for level in range(network.entries.shape[0]):
        book = f"quantizer.layers.{level}.codebook"
        entries.append(reader.take(f"{book}.embed", (size, dimension)))
        for unread in TRAINING_STATE:
            reader.left.discard(f"{book}.{unread}")
    _set(network.entries, np.stack(entries))
    problems = reader.problems + [f"{name} is not part of this architecture" for name in sorted(reader.left)]
    if problems:
        raise UserError(f"the weights in {source} do not fit its configuration: {'; '.join(problems)}")


def _fill_recurrence(module: Recurrence, reader: _Reader, place: str) -> None:
    layers, dimension, gates = module.input_kernels.shape
    inputs, states, biases = [], [], []
    for layer in range(layers):
        inputs.append(reader.take(f"{place}.weight_ih_l{layer}", (gates, dimension)).T)
        states.append(reader.take(f"{place}.weight_hh_l{layer}", (gates, dimension)).T)
        # torch keeps two biases that are only ever added.
        two = (reader.take(f"{place}.bias_{side}_l{layer}", (gates,)) for side in ("ih", "hh"))
        biases.append(sum(two, np.zeros(gates, np.float32)))
    module.silent = not any(part.any() for part in inputs + states + biases)
    _set(module.input_kernels, np.stack(inputs))
    _set(module.state_kernels, np.stack(states))
    _set(module.biases, np.stack(biases))


def _set(parameter: nnx.Param, value: np.ndarray) -> None:
    # Whole at once: assignment through an index would compile a scatter for every shape.
    parameter.set_value(jnp.asarray(value))


class _Reader:
    """Tensors by name; remembers what was asked for in vain and what nobody asked for."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        self.tensors, self.left = tensors, set(tensors)
        self.problems: list[str] = []

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The tensor as float32; zeros, and a problem noted, where it is missing or of another shape."""
        self.left.discard(name)
        if name not in self.tensors:
            self.problems.append(f"{name} is missing")
        elif self.tensors[name].shape != tuple(shape):
            self.problems.append(f"{name} is {self.tensors[name].shape}, not {tuple(shape)}")
        else:
            return self.tensors[name].astype(np.float32)
        return np.zeros(shape, np.float32)

    def folded(self, place: str, shape: tuple[int, ...]) -> np.ndarray:
        """A convolution's weight: plain, or weight norm's ``g v / |v|`` (norm over all axes but the first)."""
        if f"{place}.weight" in self.tensors:
            return self.take(f"{place}.weight", shape)
        # Older torch called them weight_g and weight_v.
        names = (f"{place}.weight_g", f"{place}.weight_v")
        if not all(name in self.tensors for name in names):
            names = (f"{place}.parametrizations.weight.original0", f"{place}.parametrizations.weight.original1")
        size = self.take(names[0], (shape[0], 1, 1))
        direction = self.take(names[1], shape)
        norm = np.sqrt(np.square(direction, dtype=np.float64).sum((1, 2), keepdims=True))
        return (size * direction / np.maximum(norm, 1e-30)).astype(np.float32)


def codec_hash(name: str) -> str:
    """SHA-256 of a codec's weights, hexadecimal: what records state that their tokens were made with."""
    with open(os.path.join(codec_folder(name), "model.safetensors"), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
