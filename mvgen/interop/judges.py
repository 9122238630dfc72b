"""Embedders and classifiers for FAD, FVD and KL, in transformers' format, from a folder that the user has.

Nothing is fetched: a folder holds ``config.json`` and ``model.safetensors``, and for sounds
``preprocessor_config.json``. torch and transformers are needed only here (``pip install 'mvgen[prep]'``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soxr

from mvgen.errors import UserError
from mvgen.media.onsets import SAMPLE_RATE

SOUND_MODELS = ("clap", "audio-spectrogram-transformer", "wav2vec2", "hubert", "wavlm", "data2vec-audio", "sew")
"""What FAD can embed sounds with: CLAP's projected embedding, or else the last hidden state's mean over time."""
VIDEO_MODELS = ("videomae", "timesformer", "vivit")
"""What the Frechet video distance can embed frames with: the last hidden state's mean over patches."""
CLASSIFIERS = ("audio-spectrogram-transformer", "wav2vec2", "hubert", "wavlm", "data2vec-audio", "sew")
"""What KL can classify sounds with."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, for video models whose folder names none."""

PIECE = 10.0
"""Seconds that are heard at a time at most; embeddings and probabilities are averaged over the pieces of a clip."""

Judge = Callable[[Any], np.ndarray]


def sound_embedder(folder: str) -> Judge:
    """What turns a mono sound at 22,050 Hz, ``[n]``, into an embedding, ``[d]``.

    Raises:
        UserError: torch or transformers is missing, or the folder does not hold such a model.
    """
    kind = _model_type(folder, "fad", SOUND_MODELS)
    torch, transformers = _libraries()
    listen = _listener(folder, transformers)
    model = _load(transformers.ClapAudioModelWithProjection if kind == "clap" else transformers.AutoModel, folder)

    def embed(sound: np.ndarray) -> np.ndarray:
        found = []
        for piece in listen(sound):
            with torch.no_grad():
                answer = model(**piece)
            found.append(answer.audio_embeds[0] if kind == "clap" else answer.last_hidden_state[0].mean(dim=0))
        return _finite(torch.stack(found).mean(dim=0).numpy(), folder)

    return embed


def sound_classifier(folder: str) -> Judge:
    """What turns a mono sound at 22,050 Hz, ``[n]``, into probabilities of classes (softmax), ``[classes]``.

    Raises:
        UserError: as :func:`sound_embedder`.
    """
    _model_type(folder, "kl", CLASSIFIERS)
    torch, transformers = _libraries()
    listen = _listener(folder, transformers)
    model = _load(transformers.AutoModelForAudioClassification, folder)

    def classify(sound: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found = [torch.softmax(model(**piece).logits[0], dim=-1) for piece in listen(sound)]
        return _finite(torch.stack(found).mean(dim=0).numpy(), folder)

    return classify


def video_embedder(folder: str) -> Judge:
    """What turns frames, uint8 ``[T, H, W, 3]``, into an embedding, ``[d]``.

    As many frames as the model takes, spread evenly over the clip, scaled to its square.

    Raises:
        UserError: as :func:`sound_embedder`.
    """
    _model_type(folder, "fvd", VIDEO_MODELS)
    torch, transformers = _libraries()
    model = _load(transformers.AutoModel, folder)
    config = model.config
    side = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
    said = _json(Path(folder) / "preprocessor_config.json")
    mean, deviation = (np.array(said.get(name, usual), np.float32) for name, usual in
                       (("image_mean", MEAN), ("image_std", DEVIATION)))  # fmt: skip

    def embed(frames: np.ndarray) -> np.ndarray:
        chosen = frames[np.rint(np.linspace(0, len(frames) - 1, config.num_frames)).astype(int)]
        scaled = np.stack([cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in chosen])
        values = ((scaled.astype(np.float32) / 255.0 - mean) / deviation).transpose(0, 3, 1, 2)
        with torch.no_grad():
            answer = model(pixel_values=torch.from_numpy(np.ascontiguousarray(values[None])))
        return _finite(answer.last_hidden_state[0].mean(dim=0).numpy(), folder)

    return embed


def _listener(folder: str, transformers: Any) -> Callable[[np.ndarray], list[dict[str, Any]]]:
    """The model's own feature extractor, at its own rate, over pieces of a sound that it takes whole.

    What is longer, extractors cut short (CLAP's at a place drawn at random); so it comes piece by piece.
    """
    if not (Path(folder) / "preprocessor_config.json").is_file():
        raise UserError(f"{folder} holds no preprocessor_config.json, which says how the model hears")
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever the library raises
        raise UserError(f"the feature extractor in {folder} cannot be loaded: {_first_line(error)}") from None
    rate = int(extractor.sampling_rate)

    frames = getattr(extractor, "max_length", None)  # AST's: of 10 ms
    takes = getattr(extractor, "max_length_s", None) or (frames * 0.01 if frames else PIECE)
    longest = int(min(PIECE, takes) * rate)

    def listen(sound: np.ndarray) -> list[dict[str, Any]]:
        heard = soxr.resample(np.asarray(sound, np.float32), SAMPLE_RATE, rate)
        pieces = [heard[start : start + longest] for start in range(0, max(1, len(heard)), longest)]
        # A rest too short to tell anything is left out.
        pieces = [piece for piece in pieces if len(piece) >= longest / 4] or pieces[:1]
        return [dict(extractor(piece, sampling_rate=rate, return_tensors="pt")) for piece in pieces]

    return listen


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
        from transformers.utils import logging
    except ImportError:
        raise UserError("--weights needs torch and transformers: pip install 'mvgen[prep]'") from None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return torch, transformers


def _model_type(folder: str, name: str, known: Sequence[str]) -> str:
    if not Path(folder).is_dir():
        raise UserError(f"--weights {name}={folder}: no such folder; weights are not fetched")
    kind = str(_json(Path(folder) / "config.json").get("model_type", "nothing"))
    # A whole CLAP says "clap", and so does its audio half.
    kind = "clap" if kind == "clap_audio_model" else kind
    if kind not in known:
        raise UserError(f"--weights {name}={folder}: its config.json names {kind!r}; it can be {', '.join(known)}")
    return kind


def _load(kind: Any, folder: str) -> Any:
    try:
        model, report = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # whatever the library raises
        raise UserError(f"the weights in {folder} cannot be loaded: {_first_line(error)}") from None
    # transformers fills in what a folder lacks with random numbers, which would judge at random.
    if missing := sorted(report["missing_keys"]):
        raise UserError(f"the weights in {folder} lack {len(missing)} tensors, such as {missing[0]}")
    return model.eval()


def _json(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    return held if isinstance(held, dict) else {}


def _finite(values: np.ndarray, folder: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise UserError(f"the model in {folder} answers with numbers that are not finite")
    return values.astype(float)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
