"""Prompts as T5 embeds them, through transformers: what MusicGen's decoder reads beside a video.

    python -m mvgen.interop.text --encoder google-t5/t5-base --text "slow piano, a large hall" --out prompt.safetensors

writes an embedded prompt that ``mvgen.generate music --text-file`` takes, so that generation itself needs neither torch
nor transformers. MusicGen's own encoder is T5-base, frozen.
"""

from __future__ import annotations

import os

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mvgen.errors import CommandParser, UserError, run_command
from mvgen.files import whole_file
from mvgen.models.token_decoder import Text

MOST_WORDS = 512
"""Pieces of words that a prompt may have."""


def embed(prompts: list[str], source: str) -> Text:
    """Embeds prompts, padded to the longest: ``[prompts, pieces, width]`` and which pieces are real.

    Args:
        prompts: one a request.
        source: folder or hub name of a T5 and its tokenizer.

    Raises:
        UserError: transformers is missing, the encoder cannot be had, or a prompt is empty or too long.
    """
    if not all(prompt.strip() for prompt in prompts):
        raise UserError("the prompt is empty; leave --text out for none")
    try:
        import torch
        from transformers import AutoTokenizer, T5EncoderModel
    except ImportError:
        raise UserError(
            "text needs torch and transformers (pip install 'mvgen[prep]'), or a prompt embedded (--text-file)"
        ) from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        encoder = T5EncoderModel.from_pretrained(source, use_safetensors=True).eval()
    except Exception as error:  # whatever the libraries below raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot load a T5 from {source}: {said}") from None
    pieces = tokenizer(prompts, padding=True, return_tensors="pt")
    if pieces["input_ids"].shape[1] > MOST_WORDS:
        raise UserError(f"the prompt has {pieces['input_ids'].shape[1]} pieces; at most {MOST_WORDS} are taken")
    with torch.no_grad():
        found = encoder(input_ids=pieces["input_ids"], attention_mask=pieces["attention_mask"]).last_hidden_state
    return Text(jnp.asarray(found.numpy()), jnp.asarray(pieces["attention_mask"].numpy() > 0))


def write_text(path: str | os.PathLike[str], text: Text) -> None:
    """Writes embedded prompts (safetensors: ``embeddings`` and ``mask``); the file is there whole or not at all."""
    tensors: dict[str, np.ndarray] = {"embeddings": np.asarray(text.embeddings, np.float32)}
    tensors["mask"] = np.asarray(text.mask, np.uint8)
    try:
        with whole_file(path) as partial:
            save_file(tensors, partial)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def read_text(path: str | os.PathLike[str]) -> Text:
    """Reads what :func:`write_text` wrote. Raises ``UserError`` where the file holds something else."""
    try:
        held = load_file(path)
        embeddings, mask = held["embeddings"], held["mask"]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path} is not an embedded prompt (safetensors with embeddings and mask): {error}") from None
    if embeddings.ndim != 3 or mask.shape != embeddings.shape[:2] or not np.isfinite(embeddings).all():
        raise UserError(f"{path}: embeddings must be [prompts, pieces, width], finite, and mask [prompts, pieces]")
    if embeddings.shape[1] > MOST_WORDS:
        raise UserError(f"{path}: the prompt has {embeddings.shape[1]} pieces; at most {MOST_WORDS} are taken")
    return Text(jnp.asarray(embeddings, jnp.float32), jnp.asarray(mask != 0))


def command(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = CommandParser(
        prog="python -m mvgen.interop.text", description="Embed a prompt for mvgen.generate music --text-file."
    )
    parser.add_argument("--encoder", required=True, metavar="NAME", help="folder or hub name of a T5")
    parser.add_argument("--text", required=True, help="the prompt")
    parser.add_argument("--out", required=True, metavar="FILE", help="what to write (.safetensors)")
    given = parser.parse_args(argv)
    write_text(given.out, embed([given.text], given.encoder))
    print(given.out)
    return 0


if __name__ == "__main__":
    run_command(command)
