"""Files as a model wants them: frames, flow and embeddings made as those of its records, images, and audio tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from mvgen import clock
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.interop.autoencoder_files import NONE as NO_AUTOENCODER
from mvgen.interop.autoencoder_files import autoencoder_hash
from mvgen.interop.encodec import load_encodec
from mvgen.interop.hands import MEDIAPIPE
from mvgen.interop.image_autoencoder import ImageAutoencoder, load_autoencoder
from mvgen.interop.landmarks import LandmarkReader, landmarks_hash
from mvgen.interop.vision import NONE, SemanticEncoder, encoder_hash
from mvgen.media import (
    check_span,
    covered_frames,
    probe,
    read_image,
    read_picture,
    read_picture_and_flow,
    read_sound,
    read_whole_image,
)
from mvgen.media.flow import FLOW_METHODS
from mvgen.media.midi import is_midi, midi_sound
from mvgen.media.sound import cut
from mvgen.models.codec import Codec
from mvgen.models.config import MVGenConfig
from mvgen.training.checkpoint import find, read_description

MOST_SECONDS = 3600.0  # longer input is refused rather than read into memory


class FilmReader:
    """Reads films for the model of a checkpoint. Of a film's sound nothing is heard.

    Args:
        checkpoint: a training folder or one of its steps: it knows how its records were made.
        config: the model's.
        encoder: where the encoder of semantic embeddings lies; by default where it lay for the records.
        landmarks: the same of what finds landmarks.

    Raises:
        UserError: the records' flow or embeddings cannot be made here.
    """

    def __init__(self, checkpoint: str, config: MVGenConfig, encoder: str = "", landmarks: str = ""):
        _, records = read_description(find(checkpoint)[0])
        made: dict[str, Any] = records.get("made_by", {}).get("settings", {})
        self._config, self._spec = config, RecordSpec.from_json(records["spec"])
        size = self._spec.frame_size or made.get("frame_size")  # of latents, the frames' that they were made from
        if not size:
            raise UserError("this model's records hold no frames, and do not say of what size theirs were; use records")
        self._size: tuple[int, int] = (size[0], size[1])
        self._method = made.get("flow_method", FLOW_METHODS[0])
        if config.sees_flow and self._method not in FLOW_METHODS:
            raise UserError(
                f"this model sees flow by {self._method!r}, which only `data_prep convert` makes; use records"
            )
        self._encoder = self._semantic_encoder(made, encoder) if config.sees_semantic else None
        self._landmarks = self._landmark_reader(made, landmarks) if config.sees_landmarks else None

    def _semantic_encoder(self, made: dict[str, Any], encoder: str) -> SemanticEncoder:
        named = encoder or made.get("semantic", NONE)
        if named == NONE:
            raise UserError("this model sees semantic embeddings, and its records do not say of what; name --semantic")
        wanted = made.get("semantic_sha256")
        try:
            found = encoder_hash(named)
        except UserError as error:
            raise UserError(f"{error}; this model sees its embeddings: name its folder, --semantic DIR") from None
        except ImportError:
            raise UserError("semantic embeddings need torch and transformers: pip install 'mvgen[prep]'") from None
        if wanted and found != wanted:
            raise UserError(
                f"the semantic encoder {named} has other weights ({found[:12]}) than the one that made the records "
                f"({wanted[:12]}); name that one, --semantic DIR"
            )
        return SemanticEncoder(named, self._size)

    def _landmark_reader(self, made: dict[str, Any], landmarks: str) -> LandmarkReader:
        named = landmarks or made.get("landmarks", NONE)
        if named == NONE:
            raise UserError("this model sees landmarks that were not found in films, but known; use its records")
        try:
            found = landmarks_hash(named)
        except UserError as error:
            raise UserError(f"this model sees landmarks, and {error} (--landmarks {MEDIAPIPE}:FILE.whl)") from None
        wanted = made.get("landmarks_sha256")
        if wanted and found != wanted:
            raise UserError(
                f"what finds landmarks, {named}, has other weights ({found[:12]}) than what made the records "
                f"({wanted[:12]}); name that one, --landmarks {MEDIAPIPE}:FILE.whl"
            )
        reader = LandmarkReader(named, self._size)
        if reader.names != self._spec.landmarks:
            raise UserError("this model sees other landmarks than can be found in films; use its records")
        return reader

    def read(self, path: str) -> dict[str, np.ndarray]:
        """``frames`` uint8 ``[T, height, width, 3]``, and as the model sees them ``flow`` float16 ``[T, h, w, 2]`` and
        ``semantic`` float16 ``[T, D]`` and ``landmarks`` float16 ``[T, points, 3]``.

        Raises:
            UserError: the file has no picture, is too long, or cannot be read.
        """
        check_span(path, MOST_SECONDS, "picture")
        flow_size = self._spec.flow_size if self._config.sees_flow else None
        method = self._method if flow_size else FLOW_METHODS[0]
        frames, flow = read_picture_and_flow(path, self._size, flow_size, method, limit=MOST_SECONDS)
        film = {"frames": frames}
        if flow is not None:
            film["flow"] = flow
        if self._encoder is not None:
            film["semantic"] = self._encoder.of_file(Path(path))
        if self._landmarks is not None:
            film["landmarks"] = self._landmarks.of_file(Path(path))
        return film


def read_first_image(path: str, size: tuple[int, int]) -> np.ndarray:
    """An image file, or else the first frame of a video, uint8 ``[height, width, 3]``."""
    try:
        return read_image(path, size)
    except UserError as error:
        if not Path(path).is_file():
            raise
        try:
            return read_picture(path, size, frames=1)[0]
        except UserError:
            raise error from None


def read_whole_first_image(path: str) -> np.ndarray:
    """The same as large as it is, uint8 ``[height, width, 3]``."""
    try:
        return read_whole_image(path)
    except UserError as error:
        if not Path(path).is_file():
            raise
        try:
            info = probe(path)
            return read_picture(path, (info.height, info.width), frames=1)[0]
        except (UserError, IndexError):
            raise error from None


def read_autoencoder(checkpoint: str, config: MVGenConfig) -> ImageAutoencoder | None:
    """The autoencoder whose latents a model films in; None for a model of pixels.

    Raises:
        UserError: the records do not name it, it is not here, or its weights are others by now.
    """
    if not config.use_latents:
        return None
    made = read_description(find(checkpoint)[0])[1].get("made_by", {}).get("settings", {})
    name = made.get("autoencoder", NO_AUTOENCODER)
    if name == NO_AUTOENCODER:
        raise UserError("this model films in latents, and its records do not say of which autoencoder")
    wanted, found = made.get("autoencoder_sha256"), autoencoder_hash(name)
    if wanted and found != wanted:
        raise UserError(
            f"the autoencoder {name} has other weights ({found[:12]}) than the one that made the records "
            f"({wanted[:12]}); put that one there again"
        )
    return load_autoencoder(name)


def read_any_sound(path: str, sample_rate: int, soundfont: str = "") -> np.ndarray:
    """The sound of a sound or video file, or of a MIDI file played with a SoundFont, float32 ``[n]``, mono."""
    if is_midi(path):
        return midi_sound(path, sample_rate, soundfont, MOST_SECONDS)
    check_span(path, MOST_SECONDS, "sound")
    return read_sound(path, sample_rate, limit=MOST_SECONDS)


def read_tokens(path: str, codec: Codec, soundfont: str = "") -> np.ndarray:
    """Audio tokens of a sound, video or MIDI file, ``[1, tokens, codebooks]``, whole frames only."""
    sound = read_any_sound(path, codec.sampling_rate, soundfont)
    if not np.isfinite(sound).all():
        raise UserError(f"{path}: its sound holds samples that are not finite numbers")
    frames = covered_frames(len(sound), codec.sampling_rate)
    if frames < 2:
        raise UserError(f"{path}: its sound is shorter than two frames ({2 / clock.FRAME_RATE} s)")
    sound = cut(sound, codec.sampling_rate, 0, clock.frame_start(frames))
    return np.asarray(codec.encode(jnp.asarray(sound)[None]))[:, : clock.tokens_of(frames)]


def load_codec(spec: RecordSpec) -> Codec:
    """The codec that a model's tokens belong to. Raises ``UserError`` when it is another one by now."""
    codec = load_encodec(spec.codec)
    if (codec.codebooks, codec.codebook_size) != (spec.codebooks, spec.codebook_size):
        raise UserError(
            f"the codec {spec.codec} has {codec.codebooks} codebooks of {codec.codebook_size} entries, "
            f"the model was trained on {spec.codebooks} of {spec.codebook_size}"
        )
    return codec
