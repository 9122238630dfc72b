"""One clip from file to records: checked, tokenised, its frames and flow taken, cut into segments.

Everything costly goes through the cache; what is returned is small. Nothing here knows of Beam.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from data_prep.convert.join import join
from data_prep.convert.standardise import standardise
from data_prep.extract import landmarks, latents, notes, semantic
from data_prep.extract.cache import Cache, disk_error
from data_prep.extract.flow import flow_hash
from data_prep.extract.frames import PictureExtractor
from data_prep.extract.tokens import TokenExtractor, weights_hash
from data_prep.sources.manifest import Clip
from mvgen.clock import CODEC_SAMPLE_RATE, frame_start, samples_of, tokens_of, whole_frames
from mvgen.data.records import Record, RecordSpec
from mvgen.errors import UserError
from mvgen.files import file_hash
from mvgen.media import covered_frames, native_sound, probe, span
from mvgen.media.notes import collected
from mvgen.media.sound import cut, resample

LOUDEST = 100.0
"""Samples beyond so many times full scale are no sound, but damage; they would only fill the codec with infinities."""


def segments_of(frames: int, most: int) -> list[tuple[int, int]]:
    """Cuts so many frames into the fewest segments of at most ``most`` frames, equal to within one.

    Equal, because a short remainder at the end would be too short to train on. Returns (first, end) of each.
    """
    count = -(-frames // most)
    edges = [frames * number // count for number in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _inside(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder or below it once every link is followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


@dataclass(frozen=True)
class Settings:
    """What decides the contents of records, out of a data config; plain values, so that workers can be sent it.

    Attributes are those of ``configs/data/base.py``; those that end in ``sha256`` are hashes of the weights used, empty
    where none are.
    """

    codec: str
    codec_sha256: str
    frame_size: tuple[int, int]
    flow_size: tuple[int, int]
    flow_method: str
    flow_sha256: str
    semantic: str
    semantic_sha256: str
    landmarks: str
    landmarks_sha256: str
    autoencoder: str
    autoencoder_sha256: str
    estimate_notes: str
    segment_frames: int
    keep_standardised: bool
    standard_height: int
    standard_quality: int
    min_seconds: float
    max_seconds: float
    max_pixels: int
    min_sample_rate: int
    max_sample_rate: int
    max_processing_seconds: float
    links_outside: bool

    @classmethod
    def from_config(cls, config: ConfigDict) -> Settings:
        """Raises ``UserError`` when a field of the config cannot be."""
        for name in ("frame_size", "flow_size"):
            size = tuple(config[name])
            if len(size) != 2 or min(size) < 1:
                raise UserError(f"config.{name} is {size}; it must be (height, width)")
        segment_frames = whole_frames(config.segment_seconds)
        if segment_frames < 1:
            raise UserError(f"config.segment_seconds is {config.segment_seconds}; it must hold a frame at least")
        if not 0 <= config.test_percent <= 100:
            raise UserError(f"config.test_percent is {config.test_percent}; it must lie between 0 and 100")
        if config.standard_height < 16:
            raise UserError(f"config.standard_height is {config.standard_height}; it must be 16 pixels at least")
        return cls(
            codec=config.codec,
            codec_sha256=weights_hash(config.codec),
            frame_size=tuple(config.frame_size),
            flow_size=tuple(config.flow_size),
            flow_method=config.flow_method,
            flow_sha256=flow_hash(config.flow_method),
            semantic=config.semantic,
            semantic_sha256=semantic.encoder_hash(config.semantic),
            landmarks=config.landmarks,
            landmarks_sha256=landmarks.landmarks_hash(config.landmarks),
            autoencoder=config.autoencoder,
            autoencoder_sha256=latents.autoencoder_hash(config.autoencoder),
            estimate_notes=notes.check_reader(config.estimate_notes),
            segment_frames=segment_frames,
            keep_standardised=config.keep_standardised,
            standard_height=config.standard_height,
            standard_quality=config.standard_quality,
            min_seconds=config.limits.min_seconds,
            max_seconds=config.limits.max_seconds,
            max_pixels=config.limits.max_pixels,
            min_sample_rate=config.limits.min_sample_rate,
            max_sample_rate=config.limits.max_sample_rate,
            max_processing_seconds=config.limits.max_processing_seconds,
            links_outside=config.limits.links_outside,
        )


class ClipProcessor:
    """Makes the records of clips. One in each worker process; pickles without the loaded codec."""

    def __init__(self, settings: Settings, cache_folder: str | os.PathLike[str]):
        self.settings = settings
        self.cache = Cache(cache_folder)
        self.tokens = TokenExtractor(settings.codec)
        self.picture = PictureExtractor(settings.frame_size, settings.flow_size, settings.flow_method)
        self.semantic: semantic.SemanticExtractor | None = None
        self.landmarks: landmarks.LandmarkExtractor | None = None
        self.latents: latents.LatentExtractor | None = None
        self.notes: notes.NoteExtractor | None = None
        if settings.estimate_notes != notes.NONE:
            self.notes = notes.NoteExtractor(settings.estimate_notes)
        if settings.semantic != semantic.NONE:
            self.semantic = semantic.SemanticExtractor(settings.semantic, settings.frame_size)
        if settings.landmarks != landmarks.NONE:
            self.landmarks = landmarks.LandmarkExtractor(settings.landmarks, settings.frame_size)
        if settings.autoencoder != latents.NONE:
            self.latents = latents.LatentExtractor(settings.autoencoder, settings.frame_size)

    @cached_property
    def spec(self) -> RecordSpec:
        """Sizes of the records; loads the codec, and the networks that are used."""
        return RecordSpec(
            codebooks=self.tokens.codebooks,
            codebook_size=self.tokens.codebook_size,
            frame_size=None if self.latents else self.settings.frame_size,
            flow_size=self.settings.flow_size,
            semantic_dim=self.semantic.dim if self.semantic else 0,
            latent_shape=self.latents.shape if self.latents else None,
            codec=self.settings.codec,
            landmarks=self.landmarks.names if self.landmarks else (),
        )

    # --- costly, once a clip --------------------------------------------------------------------------------------

    def process(self, clip: Clip) -> dict[str, Any]:
        """Does everything costly for a clip, unless the cache has it, and tells what became of it.

        Returns:
            ``status`` ("used" or "refused"), ``reason`` (empty when used); when used also ``sha256`` of the file,
            ``frames``, ``seconds`` and ``records``, and ``damage`` where something of it could not be read as it is
            (lines). Never raises for what a file holds.

        Raises:
            OSError: the cache cannot be written because the disk is full or read-only.
        """
        try:
            return self._process(clip)
        except UserError as error:
            # The manifest names the file already.
            reason = " ".join(str(error).removeprefix(str(clip.path)).lstrip(": ").split())
        except OSError as error:
            if disk_error(error):
                raise
            reason = f"cannot be read: {error.strerror or error}"
        except Exception as error:
            # Decoders meet damage that no check foresaw; one such clip must not stop the rest.
            reason = " ".join(f"cannot be processed: {type(error).__name__}: {error}".split())
        return {"status": "refused", "reason": reason}

    def _check_place(self, clip: Clip) -> None:
        """Raises ``UserError`` when links or dots lead out of the folder that the clip was found in."""
        if clip.root is None or self.settings.links_outside:
            return
        for path in (clip.path, clip.sound):
            if path is not None and not _inside(path, clip.root):
                raise UserError("leads out of the folder that it is in; --config.limits.links_outside=True allows that")

    def _joined(self, clip: Clip) -> Clip:
        """A clip whose sound lies in a file of its own, as one that has both in one file (kept in the cache)."""
        if clip.sound is None:
            return clip
        if not clip.sound.is_file():
            raise UserError(f"its sound {clip.sound}: no such file")
        sound, told = clip.sound, {"sound": file_hash(clip.sound)}
        place = self.cache.place(file_hash(clip.path), "joined", told, ".mov")
        if not place.exists():
            self.cache.keep(place, lambda path: join(clip.path, sound, path))
        return dataclasses.replace(clip, path=place, sound=None)

    def admit(self, clip: Clip) -> tuple[Clip, str]:
        """A clip as one file with picture and sound, and the hash of its contents.

        Raises:
            UserError: it is not worth decoding: it leads out of its folder, is no video, lacks picture or sound, or is
                beyond a limit.
        """
        self._check_place(clip)
        clip = self._joined(clip)
        info = probe(clip.path, self.settings.max_pixels)
        if not info.has_picture or not info.has_sound:
            raise UserError(f"has no {'sound' if info.has_picture else 'picture'}")
        # Not by the stated duration, which may be wrong either way.
        content = file_hash(clip.path)
        seconds = self._span(clip.path, content)
        if seconds > self.settings.max_seconds:
            raise UserError(f"its {float(seconds):.1f} s are over the limit of {self.settings.max_seconds:g} s")
        return clip, content

    def _process(self, clip: Clip) -> dict[str, Any]:
        with collected() as lines:
            outcome = self._extracted(clip)
        # What it is about is known from the manifest; results in the cache are made once, and so are notes.
        told = [line.partition(f"{clip.path.name}: ")[2] or line for line in lines]
        place = self.cache.place(outcome["sha256"], "notes", {}, ".txt")
        if told:
            self.cache.keep(place, lambda kept: _write_text(kept, "\n".join(told)))
        damage = place.read_text(encoding="utf-8").splitlines() if place.exists() else []
        return {**outcome, "damage": damage} if damage else outcome

    def _extracted(self, clip: Clip) -> dict[str, Any]:
        settings = self.settings
        clip, content = self.admit(clip)
        frames, _ = self.picture.extract(clip.path, content, self.cache)
        tokens = self._tokens(clip.path, content, len(frames))
        covered = len(tokens) // tokens_of(1)
        self._check_length(covered)  # tokens in the cache may have been made under another limit
        if self.semantic:
            self.semantic.extract(clip.path, content, self.cache)
        if self.landmarks:
            self.landmarks.extract(clip.path, content, self.cache)
        if self.latents:
            self.latents.extract(frames, content, self.cache)
        noted = {}
        if self.notes and not clip.notes:
            self.notes.extract(clip.path, content, self.cache)
            noted = {"notes_estimated_by": settings.estimate_notes}
        if settings.keep_standardised:
            place = self._standard_place(content, covered)
            if not place.exists():
                form = settings.standard_quality, settings.standard_height
                self.cache.keep(place, lambda path: standardise(clip.path, path, covered, *form))
        return {
            "status": "used",
            "reason": "",
            "sha256": content,
            "frames": covered,
            "seconds": float(frame_start(covered)),
            "records": len(segments_of(covered, settings.segment_frames)),
            **noted,
        }

    def _span(self, path: Path, content: str) -> Fraction:
        """:func:`mvgen.media.span`, kept: it reads every packet of the file."""
        place = self.cache.place(content, "span", {}, ".txt")
        try:
            return Fraction(place.read_text())
        except FileNotFoundError:
            pass
        except (OSError, ValueError, ZeroDivisionError):
            place.unlink(missing_ok=True)
        seconds = Fraction(span(path)).limit_denominator(1_000_000)
        self.cache.keep(place, lambda kept: _write_text(kept, str(seconds)))
        return seconds

    def _check_length(self, covered: int) -> None:
        if float(frame_start(covered)) < self.settings.min_seconds:
            raise UserError(
                f"its picture and sound together cover {float(frame_start(covered)):.2f} s, "
                f"under the limit of {self.settings.min_seconds:g} s"
            )

    def token_place(self, content: str) -> Path:
        """Where the cache keeps the tokens of these contents."""
        settings = {"codec": self.settings.codec_sha256, "segment_frames": self.settings.segment_frames}
        return self.cache.place(content, "tokens", settings, ".npy")

    def _standard_place(self, content: str, frames: int) -> Path:
        settings = {
            "frames": frames,
            "quality": self.settings.standard_quality,
            "height": self.settings.standard_height,
        }
        return self.cache.place(content, "standard", settings, ".mp4")

    def _tokens(self, path: Path, content: str, picture_frames: int) -> np.ndarray:
        """Codes of all segments, one after another, int16 ``[2T, K]``; T: whole frames that picture and sound cover."""
        place = self.token_place(content)
        tokens = self.cache.array(place)
        if tokens is None:
            stretches = self.stretches(path, picture_frames)
            tokens = np.concatenate([self.tokens.extract(stretch) for stretch in stretches])
            self.cache.keep_array(place, tokens)
        return tokens

    def stretches(self, path: Path, picture_frames: int) -> list[np.ndarray]:
        """The sound of each segment, float32 ``[n]`` at 32 kHz.

        Each is encoded by itself: the codec is not causal, and a record must be what encoding its own sound gives.

        Raises:
            UserError: the sound is none that can be used, or too short.
        """
        settings = self.settings
        sound, rate = native_sound(path)
        if not settings.min_sample_rate <= rate <= settings.max_sample_rate:
            limits = f"{settings.min_sample_rate} to {settings.max_sample_rate}"
            raise UserError(f"its sound has {rate} samples a second, outside the limits of {limits}")
        if not np.isfinite(sound).all():
            raise UserError("its sound holds samples that are not finite numbers")
        if np.abs(sound).max() > LOUDEST:
            raise UserError(f"its sound goes to {np.abs(sound).max():.3g} times full scale")
        covered = min(picture_frames, covered_frames(len(sound), rate))
        self._check_length(covered)
        sound = resample(sound, rate, CODEC_SAMPLE_RATE)
        segments = segments_of(covered, settings.segment_frames)
        return [self._stretch(sound, first, end) for first, end in segments]

    @staticmethod
    def _stretch(sound: np.ndarray, first: int, end: int) -> np.ndarray:
        """Samples of frames ``first .. end``, silence where the sound ends a rounding early."""
        begin = samples_of(first, CODEC_SAMPLE_RATE)
        count = samples_of(end, CODEC_SAMPLE_RATE) - begin
        piece = cut(sound[begin : begin + count], CODEC_SAMPLE_RATE)
        return np.pad(piece, (0, count - len(piece)))

    # --- cheap, from the cache ------------------------------------------------------------------------------------

    def records(self, clip: Clip, outcome: dict[str, Any]) -> Iterator[Record]:
        """The records of a processed clip, one after another."""
        for number in range(outcome["records"]):
            yield self.record(clip, outcome, number)

    def record(self, clip: Clip, outcome: dict[str, Any], number: int) -> Record:
        """Record ``number`` of a processed clip. What the cache has lost meanwhile is made again."""
        clip = self._joined(clip)
        if self.notes and not clip.notes:
            clip = dataclasses.replace(clip, notes=self.notes.extract(clip.path, outcome["sha256"], self.cache))
        frames, flow = self.picture.extract(clip.path, outcome["sha256"], self.cache)
        tokens = self._tokens(clip.path, outcome["sha256"], len(frames))
        first, end = segments_of(outcome["frames"], self.settings.segment_frames)[number]
        flow = np.array(flow[first:end])
        flow[0] = 0  # in a record, nothing comes before its first frame
        several = outcome["records"] > 1
        start, stop = float(frame_start(first)), float(frame_start(end))
        record: Record = {
            "clip_id": f"{clip.clip_id}-{number:04d}" if several else clip.clip_id,
            "source_id": clip.source_id,
            "labels": ",".join(clip.labels),
            "start_seconds": np.float32(start),
            "tokens": np.array(tokens[tokens_of(first) : tokens_of(end)]),
            "flow": flow,
            "notes": clip.notes_between(start, stop),
        }
        if self.semantic:
            embeddings = self.semantic.extract(clip.path, outcome["sha256"], self.cache)
            record["semantic"] = np.array(embeddings[first:end])
        if self.landmarks:
            points = self.landmarks.extract(clip.path, outcome["sha256"], self.cache)
            record["landmarks"] = np.array(points[first:end])
        if self.latents:
            record["latents"] = np.array(self.latents.extract(frames, outcome["sha256"], self.cache)[first:end])
        else:
            record["frames"] = np.array(frames[first:end])
        return record

    def standardised(self, outcome: dict[str, Any]) -> Path | None:
        """Where the standard form of a processed clip lies; None where none is kept."""
        return self._standard_place(outcome["sha256"], outcome["frames"]) if self.settings.keep_standardised else None
