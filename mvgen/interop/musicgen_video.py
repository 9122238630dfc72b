"""Shows transformers' MusicGen the video as mvgen does, for a decoder that mvgen trained and exported.

``mvgen.export --format musicgen`` puts this file beside the weights; it needs torch, safetensors and transformers:

    model = MusicgenForCausalLM.from_pretrained(folder)
    with watching(model, folder, latents) as condition:
        logits = model(input_ids=ids, encoder_hidden_states=condition).logits

Three things that MusicGen's own code has no place for are added by hooks, of the full pass and of cached steps alike:
frame-locked addition, the time bias of cross-attention, and its window. With none of them the hooks add nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

FRAME_RATE, TOKEN_RATE = 25, 50
NEAREST, FARTHEST, OWN = 1 / 25, 1.0, 0.012
"""Seconds: reach of the first and the last head, and the first head's standard deviation (mvgen.models.positions)."""


@contextmanager
def watching(
    model: Any,
    folder: str | Path,
    latents: torch.Tensor,
    words: torch.Tensor | None = None,
    words_mask: torch.Tensor | None = None,
) -> Iterator[torch.Tensor]:
    """The decoder sees this video until the context ends.

    Args:
        model: a ``MusicgenForCausalLM`` of the folder.
        folder: holds ``conditioning.safetensors`` and ``conditioning.json``.
        latents: mvgen's video latents ``[batch, frames, width]``, 25 frames a second.
        words: embedded text ``[batch, words, text width]``, for a decoder that reads it.
        words_mask: which of the words are words, not padding.

    Yields:
        The ``encoder_hidden_states`` of every call within: words, then frames.
    """
    about = json.loads((Path(folder) / "conditioning.json").read_text())
    made = {name: tensor.to(latents) for name, tensor in load_file(Path(folder) / "conditioning.safetensors").items()}
    frames, codebooks = latents.shape[1], about["codebooks"]
    tokens = frames * TOKEN_RATE // FRAME_RATE
    newest = torch.arange(tokens + codebooks - 1, device=latents.device).clamp(max=tokens - 1)  # token of each step
    seen = latents @ made["condition.kernel"] + made["condition.bias"]
    scores = _scores(about, (newest + 0.5) / TOKEN_RATE, (torch.arange(frames).to(newest) + 0.5) / FRAME_RATE)
    if words is not None:
        told = words @ made["text.kernel"] + made["text.bias"] if "text.kernel" in made else words
        kept = torch.ones(words.shape[:2], device=words.device) if words_mask is None else words_mask
        told = told * kept[..., None].to(told)
        hidden = torch.zeros_like(kept, dtype=scores.dtype).masked_fill(kept == 0, float("-inf"))
        scores = scores.expand(len(words), -1, -1, -1)
        beside = hidden[:, None, None].expand(-1, *scores.shape[1:3], -1)
        seen, scores = torch.cat([told, seen], 1), torch.cat([beside, scores], -1)
    locked = None
    if about["frame_locked"]:
        locked = (latents @ made["locked.kernel"] + made["locked.bias"])[:, newest * FRAME_RATE // TOKEN_RATE]
    first = 0

    def add(layer: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        nonlocal first
        x = given[0]
        if layer is layers[0]:
            cache = named.get("past_key_values")
            first = 0 if cache is None else int(cache.get_seq_length())
            x = x if locked is None else x + locked[:, first : first + x.shape[1]].to(x)
        named["encoder_attention_mask"] = scores[:, :, first : first + x.shape[1]].expand(len(x), -1, -1, -1).to(x)
        return (x, *given[1:]), named

    layers = model.model.decoder.layers
    hooks = [layer.register_forward_pre_hook(add, with_kwargs=True) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _scores(about: dict[str, Any], steps: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """What is added to cross-attention's scores, ``[1, heads, steps, frames]``; minus infinity is not seen."""
    apart, heads = frames[None, :] - steps[:, None], about["heads"]
    number = torch.arange(heads, device=apart.device)
    if about["bias"] == "time_bias":  # a Gaussian for each head: its own time, then before and after, ever farther
        distance = (NEAREST * 2.0 ** ((number + 1) // 2)).clamp(max=FARTHEST)
        moment = torch.where(number % 2 == 1, -distance, distance).masked_fill(number == 0, 0.0)
        deviation = (distance / 2).masked_fill(number == 0, OWN)
        scores = -0.5 * ((apart - moment[:, None, None]) / deviation[:, None, None]) ** 2
    elif about["bias"] == "alibi":
        reach = NEAREST * (FARTHEST / NEAREST) ** (number / max(heads - 1, 1))
        scores = -apart.abs() / reach[:, None, None]
    else:
        scores = torch.zeros(heads, *apart.shape, device=apart.device)
    if about["window"]:
        scores = scores.masked_fill(apart.abs() > about["window"] + 1e-6, float("-inf"))
    return scores[None]
