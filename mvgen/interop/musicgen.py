"""MusicGen in transformers' format: its decoder in, ours out again, one table of names for both ways.

Read are folders as ``save_pretrained`` writes them, of ``MusicgenForConditionalGeneration`` (text encoder, codec and
decoder together, as the published weights are) or of ``MusicgenForCausalLM`` (the decoder alone), and hub names.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError
from safetensors.numpy import load_file

from mvgen.errors import UserError
from mvgen.interop.encodec import fill
from mvgen.interop.hub import announce, hub_folder, is_hub_name
from mvgen.models.codec import Codec, CodecConfig, EncodecNetwork
from mvgen.models.config import DecoderConfig
from mvgen.models.positions import musicgen_sinusoid
from mvgen.models.token_decoder import TokenDecoder

PUBLISHED_LICENCE = "cc-by-nc-4.0"
"""Of the weights that the hub holds under ``facebook/musicgen-*``."""

FILES = ("config.json", "README.md", "*.safetensors", "*.safetensors.index.json")
"""What is fetched of a hub's model."""

DECODER, PROJECTION, TEXT, CODEC = "decoder.", "enc_to_dec_proj.", "text_encoder.", "audio_encoder."
"""How tensors of the parts of a ``MusicgenForConditionalGeneration`` begin."""

POSITIONS = "model.decoder.embed_positions.weights"
"""Sinusoids that older files hold; they are checked, not read: ours are computed."""

Params = dict[Any, Any]


@dataclasses.dataclass(frozen=True)
class MusicgenFiles:
    """A MusicGen as it was read, nothing built yet.

    Attributes:
        source: folder or hub name that it came from.
        config: sizes of its decoder, as ours.
        tensors: the decoder's, by the names of ``MusicgenForCausalLM``, and ``enc_to_dec_proj``'s.
        text_encoder: transformers' configuration of the text encoder, where the files hold one.
        codec: configuration and tensors of the EnCodec beside it, where the files hold one.
        licence: as its model card says, in lower case; "" where none does.
    """

    source: str
    config: DecoderConfig
    tensors: dict[str, np.ndarray]
    text_encoder: dict[str, Any] | None
    codec: tuple[CodecConfig, dict[str, np.ndarray]] | None
    licence: str


@dataclasses.dataclass(frozen=True)
class Musicgen:
    """A MusicGen ready to play: its decoder, and its codec where the files held one."""

    decoder: TokenDecoder
    codec: Codec | None


def their_name(path: str) -> tuple[str, bool] | None:
    """transformers' name for one of our decoder's parameters, and whether it is transposed there.

    Args:
        path: for example ``layers.0.attention.q.kernel``.

    Returns:
        ``None`` for what MusicGen's decoder has not: the parameters that meet the video.
    """
    layer = {
        "attention.": "self_attn.", "cross.": "encoder_attn.", "norm_self.": "self_attn_layer_norm.",
        "norm_cross.": "encoder_attn_layer_norm.", "norm_mlp.": "final_layer_norm.", "mlp.": "",
    }  # fmt: skip
    leaf = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}
    place, _, last = path.rpartition(".")
    if match := re.fullmatch(r"embeddings\.(\d+)", place):
        name = f"model.decoder.embed_tokens.{match[1]}"
    elif match := re.fullmatch(r"heads\.(\d+)", place):
        name = f"lm_heads.{match[1]}"
    elif match := re.fullmatch(r"layers\.(\d+)\.(\w+)\.?(\w*)", place):
        part, inner = layer[f"{match[2]}."], match[3]
        inner = inner if match[2] == "mlp" else f"{inner}_proj" if inner else ""
        name = f"model.decoder.layers.{match[1]}.{part}{inner}".rstrip(".")
    elif place == "norm":
        name = "model.decoder.layer_norm"
    elif place == "text":
        name = PROJECTION.rstrip(".")
    else:
        return None
    return f"{name}.{leaf[last]}", last == "kernel"


def read_musicgen(source: str | os.PathLike[str]) -> MusicgenFiles:
    """Reads a MusicGen's configuration and tensors.

    Args:
        source: a folder, or a hub's name such as ``facebook/musicgen-small``, which is fetched (or taken from the
            hub's own cache) because it was asked for by name.

    Raises:
        UserError: it cannot be had or read, is another architecture, or is a MusicGen that is not supported (stereo,
            melody).
    """
    folder = _folder(os.fspath(source))
    config = _read_json(folder / "config.json")
    kind = config.get("model_type")
    tensors = _read_tensors(folder)
    if kind == "musicgen_decoder":
        # The decoder alone is given what it attends to at its own width.
        width = int(config.get("hidden_size", 1024))
        return MusicgenFiles(
            os.fspath(source), decoder_config(config, width), tensors, None, None, card_licence(folder)
        )
    if kind != "musicgen":
        raise UserError(f"{source} is of a {kind!r} model, not of a MusicGen (model_type musicgen or musicgen_decoder)")
    parts = {
        prefix: {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in (DECODER, TEXT, CODEC)
    }
    known = (DECODER, PROJECTION, TEXT, CODEC)
    if unknown := sorted(name for name in tensors if not name.startswith(known)):
        raise UserError(f"{source}: tensors that are no part of a MusicGen: {_listed(unknown)}")
    text = config.get("text_encoder") or {}
    # T5's own default; transformers leaves defaults out of the file.
    sizes = decoder_config(config.get("decoder") or {}, int(text.get("d_model", text.get("hidden_size", 512))))
    decoder = parts[DECODER] | {name: value for name, value in tensors.items() if name.startswith(PROJECTION)}
    codec = None
    if parts[CODEC]:
        codec = (CodecConfig.from_dict(config["audio_encoder"]), parts[CODEC])
    return MusicgenFiles(os.fspath(source), sizes, decoder, text or None, codec, card_licence(folder))


def decoder_config(config: dict[str, Any], text_width: int) -> DecoderConfig:
    """Our decoder's sizes from the content of transformers' ``MusicgenDecoderConfig``; its defaults where a field is
    missing.

    Raises:
        UserError: it asks for what MusicGen's published decoders do not have and ours cannot do.
    """
    supported = {"activation_function": "gelu", "audio_channels": 1, "scale_embedding": False}
    for name, value in supported.items():
        if config.get(name, value) != value:
            raise UserError(f"a MusicGen with {name}={config[name]!r} is not supported, only {value!r}")
    if config.get("cross_attention_hidden_size"):
        raise UserError("a MusicGen with cross_attention_hidden_size is not supported, only enc_to_dec_proj")
    size = int(config.get("vocab_size", 2048))
    for name in ("pad_token_id", "bos_token_id"):
        if config.get(name, size) not in (size, None):
            raise UserError(f"a MusicGen with {name}={config[name]} is not supported, only vocab_size ({size})")
    return DecoderConfig(
        codebooks=int(config.get("num_codebooks", 4)),
        codebook_size=size,
        width=int(config.get("hidden_size", 1024)),
        heads=int(config.get("num_attention_heads", 16)),
        layers=int(config.get("num_hidden_layers", 24)),
        hidden=int(config.get("ffn_dim", 4096)),
        text_width=text_width,
    )


def load_musicgen(source: str | os.PathLike[str], dtype: str = "float32") -> Musicgen:
    """MusicGen itself, to be conditioned on text embeddings (or, from a ``MusicgenForCausalLM``, on anything of its
    width). ``dtype`` is that of parameters and computation: ``float32`` or ``bfloat16``.

    Raises:
        UserError: see :func:`read_musicgen`; tensors that are missing, too many or of another shape (each is named).
    """
    files = read_musicgen(source)
    config = dataclasses.replace(files.config, dtype=dtype)
    graph, abstract = nnx.split(nnx.eval_shape(lambda: TokenDecoder(config, rngs=nnx.Rngs(0))), nnx.Param)
    params = filled(nnx.to_pure_dict(abstract), files)
    nnx.replace_by_pure_dict(abstract, jax.tree.map(lambda x: jnp.asarray(x, dtype), params))
    codec = None
    if files.codec is not None:
        network = EncodecNetwork(files.codec[0])
        fill(network, files.codec[1], source=f"{source} ({CODEC.rstrip('.')})")
        codec = Codec(network, files.source)
    return Musicgen(nnx.merge(graph, abstract), codec)


def filled(params: Params, files: MusicgenFiles) -> Params:
    """Our decoder's parameters with MusicGen's in their places; those that meet the video stay as they are.

    Args:
        params: of a :class:`~mvgen.models.token_decoder.TokenDecoder`, nested dict; only shapes are read of what is
            replaced.
        files: all their tensors must have a place.

    Raises:
        UserError: naming every tensor that is missing, too many or of another shape.
    """
    left, problems = set(files.tensors), []

    def place(path: tuple[Any, ...], old: Any) -> Any:
        found = their_name(jax.tree_util.keystr(path, simple=True, separator="."))
        if found is None:
            return old
        name, transposed = found
        left.discard(name)
        shape = tuple(old.shape[::-1]) if transposed else tuple(old.shape)
        value = files.tensors.get(name)
        if value is None:
            problems.append(f"{name} is missing")
        elif value.shape != shape:
            problems.append(f"{name} is {value.shape}, not {shape}")
        else:
            value = np.asarray(value, np.float32)
            return value.T if transposed else value
        return old

    made = jax.tree_util.tree_map_with_path(place, params)
    if POSITIONS in left:
        left.discard(POSITIONS)
        table = np.asarray(files.tensors[POSITIONS], np.float32)
        ours = np.asarray(musicgen_sinusoid(jnp.arange(len(table)), files.config.width))
        # Half precision holds three digits.
        if table.shape != ours.shape or not np.allclose(table, ours, atol=2e-3):
            problems.append(f"{POSITIONS} are not MusicGen's sinusoids")
    problems += [f"{name} has no place in this decoder" for name in sorted(left)]
    if problems:
        raise UserError(f"the weights in {files.source} do not fit: {_listed(problems, '; ')}")
    return made


def start_from_musicgen(params: Params, decoder: DecoderConfig, files: MusicgenFiles) -> Params:
    """An MVGen's token decoder with MusicGen's weights to start from: all that MusicGen has, as it is there.

    What meets the video stays as it was made.

    Args:
        params: the token decoder's, nested dict.
        decoder: its configuration.
        files: of the same sizes.

    Raises:
        UserError: the sizes differ (the first is named), or tensors do not fit.
    """
    fields = {
        "codebooks": "the records' codebooks", "codebook_size": "the records' codebook_size",
        "width": "config.model.decoder_width", "heads": "config.model.decoder_heads",
        "layers": "config.model.decoder_layers", "hidden": "config.model.decoder_hidden",
    }  # fmt: skip
    for name, said in fields.items():
        theirs, ours = getattr(files.config, name), getattr(decoder, name)
        if theirs != ours:
            raise UserError(f"{files.source} is a MusicGen with {name} {theirs}, and {said} is {ours}; make them equal")
    if not decoder.cross_attention:
        raise UserError(f"{files.source} has cross-attention: set config.model.cross_attention to True")
    if decoder.text_width not in (0, files.config.text_width):
        raise UserError(
            f"{files.source} reads text of width {files.config.text_width}, and config.model.text_width is "
            f"{decoder.text_width}; use that width, or 0 for no text"
        )
    if not decoder.text_width:  # the projection of text is not wanted, and said to be so
        wanted = {name: value for name, value in files.tensors.items() if not name.startswith(PROJECTION)}
        files = dataclasses.replace(files, tensors=wanted)
    return filled(params, files)


def theirs(params: Params) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Our decoder's parameters by ``MusicgenForCausalLM``'s names, and apart from them what it has no place for.

    The second holds, under our names, the projections of video and text and the absent video.
    """
    tensors: dict[str, np.ndarray] = {}
    apart: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        ours = jax.tree_util.keystr(path, simple=True, separator=".")
        found = their_name(ours)
        value = np.asarray(leaf, np.float32)
        if found is None or found[0].startswith(PROJECTION):
            apart[ours] = value
        else:
            tensors[found[0]] = np.ascontiguousarray(value.T) if found[1] else value
    return tensors, apart


def transformers_config(config: DecoderConfig) -> dict[str, Any]:
    """The content of ``config.json`` of a ``MusicgenForCausalLM`` of these sizes."""
    pad = config.codebook_size
    return {
        "architectures": ["MusicgenForCausalLM"], "model_type": "musicgen_decoder", "vocab_size": config.codebook_size,
        "hidden_size": config.width, "num_hidden_layers": config.layers, "num_attention_heads": config.heads,
        "ffn_dim": config.hidden, "num_codebooks": config.codebooks, "audio_channels": 1,
        "activation_function": "gelu", "scale_embedding": False, "max_position_embeddings": 2048,
        "pad_token_id": pad, "bos_token_id": pad, "decoder_start_token_id": pad, "tie_word_embeddings": False,
        "dtype": "float32",
    }  # fmt: skip


def _folder(source: str) -> Path:
    """The folder itself, or where the hub's client has put the model of that name."""
    if os.path.isdir(source):
        return Path(source)
    if not is_hub_name(source):
        raise UserError(f"no MusicGen at {source}: neither a folder nor a hub's name such as facebook/musicgen-small")
    announce(source)
    return hub_folder(source, FILES)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} holds no {path.name}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"cannot read {path}: it is not a JSON object")
    return found


def _read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """All tensors of a folder: one safetensors file, or several and their index, or else torch's (weights only)."""
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        held = _read_json(index).get("weight_map")
        names = sorted({str(name) for name in held.values()}) if isinstance(held, dict) else []
        if not names or any(Path(name).name != name for name in names):
            raise UserError(f"{index} does not name files of its own folder")
    elif not (folder / names[0]).is_file() and (folder / "pytorch_model.bin").is_file():
        return _read_torch(folder / "pytorch_model.bin")
    tensors: dict[str, np.ndarray] = {}
    for name in names:
        try:
            tensors |= _load(folder / name)
        except FileNotFoundError:
            raise UserError(f"{folder} holds no {name}") from None
        except (OSError, SafetensorError, ValueError) as error:
            raise UserError(f"cannot read {folder / name}: {error}") from None
    return tensors


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except (TypeError, KeyError):  # numpy knows no bfloat16, jax does
        from safetensors.flax import load_file as load_any

        return {name: np.asarray(value) for name, value in load_any(path).items()}


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} needs torch to be read (pip install 'mvgen[prep]'), or convert it to safetensors"
        ) from None
    try:
        held: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return {name: value.float().numpy() for name, value in held.items()}
    except Exception as error:  # what is not weights only, or damaged, raises whatever torch has
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot read {path}: {said}") from None


def card_licence(folder: Path) -> str:
    """The licence in the front matter of a model card, in lower case; "" where there is none."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")[:20_000]
    except (OSError, ValueError):
        return ""
    front = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    found = re.search(r"^license:\s*['\"]?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return found[1].lower() if found else ""


def _listed(words: list[str], between: str = ", ", most: int = 20) -> str:
    """The first of many, and how many more there are."""
    more = f"{between}and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more
