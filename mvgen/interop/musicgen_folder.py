"""Our token decoder as a folder that ``transformers.MusicgenForCausalLM.from_pretrained`` loads, with a model card."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from mvgen.errors import UserError
from mvgen.interop.encodec import PACKAGED
from mvgen.interop.musicgen import PUBLISHED_LICENCE, Params, card_licence, theirs, transformers_config
from mvgen.models.config import DecoderConfig

CONDITIONING_FILE = "conditioning.safetensors"
"""Beside the weights: what makes the decoder's conditioning of video latents and text, under our names."""

ABOUT_FILE, VIDEO_FILE = "conditioning.json", "musicgen_video.py"
"""What of the decoder MusicGen's configuration does not say, and the code that adds it to transformers' MusicGen."""

CARRIED = ("frame-locked addition", "bias of cross-attention by time", "window of cross-attention")
"""Of what MusicGen has not, that which :mod:`mvgen.interop.musicgen_video` adds to it."""

UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where weights came from: ``start`` is what training began with ("" for random numbers), and its ``licence``."""

    start: str
    licence: str
    codec: str

    @classmethod
    def of(cls, start: str, codec: str, stated: str = "") -> Origin:
        """Looks the licence up: the model card of the folder, or what the hub's published weights have.

        Args:
            start: ``config.init_from`` of the run: a folder or a hub's name; "" for a random start.
            codec: the codec that its tokens belong to.
            stated: what the user says the licence is.

        Raises:
            UserError: the user says another licence than the weights have.
        """
        found = card_licence(Path(start)) if start else ""
        if not found and start.startswith("facebook/musicgen"):
            found = PUBLISHED_LICENCE
        if stated and found and stated.lower() != found:
            raise UserError(f"--licence {stated}: the weights came from {start}, whose licence is {found}")
        return cls(start, found or stated.lower() or UNKNOWN, codec)


def check_exportable(config: DecoderConfig, drop: bool) -> list[str]:
    """What a MusicGen has no place for, and cannot be added to it from outside; to be left out.

    Raises:
        UserError: there is such a thing and ``drop`` is False, or there is nothing that could be exported.
    """
    if not config.cross_attention:
        raise UserError("MusicGen's decoder has cross-attention, and this model was trained without any")
    beyond = [name for name in config.beyond_musicgen() if name not in CARRIED]
    if beyond and not drop:
        raise UserError(
            f"MusicGen has no {' and no '.join(beyond)}, which this model was trained with; "
            "train with model.token_head=False, previous_timesteps=0 and cross_positions=time_bias or none, "
            "or say --drop to leave them out (its logits are then other than here)"
        )
    return beyond


def write_musicgen(
    folder: Path, params: Params, config: DecoderConfig, origin: Origin, drop: bool = False
) -> list[str]:
    """Writes the files into ``folder``, which is there already.

    Args:
        folder: gets ``config.json``, ``generation_config.json``, ``model.safetensors``, ``conditioning.safetensors``,
            ``conditioning.json``, ``musicgen_video.py`` and ``README.md``.
        params: the token decoder's, nested dict.
        config: its configuration.
        origin: for the card.
        drop: leave out what MusicGen has no place for, instead of refusing.

    Returns:
        What was left out, in words.

    Raises:
        UserError: see :func:`check_exportable`.
    """
    dropped = check_exportable(config, drop)
    tensors, apart = theirs(params)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    save_file(apart, folder / CONDITIONING_FILE, metadata={"format": "mvgen"})
    pad = config.codebook_size
    generation: dict[str, Any] = {
        "bos_token_id": pad, "pad_token_id": pad, "decoder_start_token_id": pad, "do_sample": True,
        "max_length": 1500 + config.codebooks, "num_return_sequences": 1,
    }  # fmt: skip
    about = {name: getattr(config, name) for name in ("codebooks", "heads", "frame_locked", "bias", "window")}
    shutil.copyfile(Path(__file__).with_name(VIDEO_FILE), folder / VIDEO_FILE)
    contents = {"config.json": transformers_config(config), "generation_config.json": generation, ABOUT_FILE: about}
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n")
    (folder / "README.md").write_text(model_card(config, origin, dropped))
    return dropped


def model_card(config: DecoderConfig, origin: Origin, dropped: list[str]) -> str:
    """The card, with the licence in its front matter and in words."""
    licence = origin.licence
    if origin.start:
        start = (
            f"Training started from the weights of `{origin.start}`. Their licence, **{licence}**, holds for these too."
        )
    else:
        start = (
            "Training started from random weights, not from MusicGen's published ones. "
            f"Licence of these weights: **{licence}**."
        )
    if licence == UNKNOWN:
        start += " Ask whoever trained them before you use them."
    if licence.startswith("cc-by-nc"):
        start += " It forbids commercial use."
    codec = f"`{origin.codec}`, which travels with mvgen" if origin.codec in PACKAGED else f"`{origin.codec}`"
    left = ""
    if dropped:
        left = (
            f"\n**Left out**, since MusicGen has no place for it: {', '.join(dropped)}. The logits of this folder are "
            "therefore not those of the model that was trained.\n"
        )
    text = ""
    if config.text_width:
        text = f" Embedded words of width {config.text_width} are `words` and `words_mask` of `watching`."
    carried = [name for name in config.beyond_musicgen() if name in CARRIED]
    added = f", which adds what MusicGen has not: {', '.join(carried)}" if carried else ""
    front = f"license: {licence}\n" if licence != UNKNOWN else "license: other\nlicense_name: unknown\n"
    return f"""---
{front}library_name: transformers
tags: [musicgen, mvgen]
---
# A MusicGen decoder, trained by mvgen

{start}

MusicGen's architecture: {config.layers} layers, width {config.width}, {config.heads} heads,
{config.codebooks} codebooks of {config.codebook_size} entries, delayed by one step each. Tokens are those of the codec
{codec}.
{left}
## How to use it

```python
from musicgen_video import watching  # beside the weights
from transformers import DynamicCache, EncoderDecoderCache, MusicgenForCausalLM
model = MusicgenForCausalLM.from_pretrained("this folder")
with watching(model, "this folder", latents) as condition:
    logits = model(input_ids=ids, encoder_hidden_states=condition).logits
```

`latents` are mvgen's video latents, `[batch, frames, {config.video_width}]`, 25 frames a second. `watching` is code of
this folder{added}.{text} For guidance the absent video is `no_video` in `{CONDITIONING_FILE}`, in place of every
latent. To `generate`, pass
`past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache())` and an `attention_mask` of ones: without them
transformers mixes the two attentions' caches and hides the first column.
"""
