"""What the page asks for: one job at a time on the model, each with its own folder, bounded, and stopped when asked."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mvgen.api import Filming, Pipeline, Sampling
from mvgen.clock import STANDARD_SAMPLE_RATE
from mvgen.errors import UserError
from mvgen.inference.mastering import Mastering, read_both_sides
from mvgen.inference.retrieval import Answer
from mvgen.media import check_span
from mvgen.media.midi import midi_notes
from mvgen.studio.alignment import draw_alignment, movement

KEPT = 40
"""Results that are kept; the oldest goes when another is made."""
RATE = STANDARD_SAMPLE_RATE
Tell = Callable[[int, int], None]


class Stopped(Exception):
    """The user has asked for an end."""


@dataclass(frozen=True)
class Made:
    """Files that a job has made, and what to say of them. Of a film there is no sound alone, and there are no notes."""

    video: Path
    sound: Path | None
    plot: Path
    comparison: Path | None
    notes: Path | None
    told: str

    @property
    def files(self) -> list[Path]:
        """What can be downloaded."""
        return [each for each in (self.video, self.sound, self.notes, self.comparison) if each is not None]


class Jobs:
    """Runs what the page asks for.

    Args:
        model: a loaded model.
        folder: where all files lie that are read and made.
        most_seconds: longer files are refused.
        records: a folder of records to search; empty: there is none.
    """

    def __init__(self, model: Pipeline, folder: Path, most_seconds: float, records: str = ""):
        self.model, self.folder, self.most_seconds, self.records = model, folder, most_seconds, records
        self.made = folder / "made"
        self.made.mkdir(parents=True, exist_ok=True)
        self._busy = threading.Lock()
        self._stops: dict[str, threading.Event] = {}

    def stop(self, session: str) -> None:
        """Ends what a session has running, at its next step."""
        if session in self._stops:
            self._stops[session].set()

    def music(
        self, session: str, video: str | None, tell: Tell, *, seconds: float = 0, temperature: float = 0, seed: int = 0,
        mix: float = 0, compare: bool = False, notes: str | None = None,
    ) -> Made:  # fmt: skip
        """Music for a video, on the video and alone; and the notes that its picture shows, where the model reads them.

        Args:
            session: of the page that asks.
            video: what was dropped.
            tell: is told how far it is.
            seconds: so much of it; 0: all.
            temperature, seed, mix: see :class:`mvgen.api.Sampling` and :meth:`mvgen.api.Music.save`.
            compare: make the comparison, too.
            notes: a MIDI file that the music follows where the picture leaves it open.

        Raises:
            UserError: something the user can mend. Stopped: the session asked for it.
        """
        name = self._read(video, "picture", "Drop a video first.")
        Mastering(mix=float(mix)).check(name)
        score = self._read(notes, "", "") if notes else None
        with self._busy, self._job(session, tell) as (room, told):
            cut = float(seconds) or None
            music = self.model.video_to_music(
                name, seconds=cut, seed=int(seed), notes=score, sampling=Sampling(temperature=float(temperature)),
                progress=told,
            )  # fmt: skip
            stem = Path(name).stem[:60]
            out, sound = room / f"{stem} with music.mp4", room / f"{stem} music.wav"
            music.save(out, mix=float(mix))
            music.save(sound, mix=float(mix))
            comparison = room / f"{stem} compared.mp4" if compare else None
            if comparison:
                music.compare(comparison)
            onsets = draw_alignment(room / "alignment.png", movement(name, cut), music.sound, music.sample_rate)
            line = f"{music.seconds:g} s of music, {onsets} onsets, seed {int(seed)}."
            midi = None
            if self.model.reads_notes:
                read, midi = self.model.video_to_notes(name, cut), room / f"{stem} notes.mid"
                read.save(midi)
                line += f" The picture shows {read}."
            return Made(out, sound, room / "alignment.png", comparison, midi, line)

    def film(
        self, session: str, image: str | None, audio: str | None, score: str | None, tell: Tell, *, seconds: float = 0,
        steps: int = 2, follow: float = 1, seed: int = 0,
    ) -> Made:  # fmt: skip
        """A film to music, from an image.

        Args:
            session, tell: see :meth:`music`.
            image: what was dropped.
            audio, score: the music, or a MIDI file to play: one of the two.
            seconds: so much of the music; 0: all.
            steps, follow: see :class:`mvgen.api.Filming`.
            seed: of all draws.

        Raises:
            UserError: something the user can mend. Stopped: the session asked for it.
        """
        first = self._read(image, "", "Drop an image first.")
        if audio and score:
            raise UserError("Drop a song, or a score: one of the two.")
        song = self._read(score, "", "") if score else self._read(audio, "sound", "Drop a song first.")
        if score and (length := midi_notes(song)[:, 1].max(initial=0)) > self.most_seconds:
            raise UserError(f"{song}: lasts {length:.0f} s; at most {self.most_seconds:g} s are taken")
        with self._busy, self._job(session, tell) as (room, told):
            film = self.model.music_to_video(
                first, song, float(seconds) or None, int(seed),
                filming=Filming(steps=int(steps), sound_guidance=float(follow)), progress=told,
            )  # fmt: skip
            out = room / f"{Path(song).stem[:60]} filmed.mp4"
            film.save(out)
            draw_alignment(room / "alignment.png", movement(str(out)), film.sound, film.sample_rate)
            line = f"{film.seconds:g} s of film, {film.change:.1%} of the picture changes from frame to frame."
            return Made(out, None, room / "alignment.png", None, None, line)

    def sync(self, session: str, video: str | None) -> tuple[str, Path]:
        """How late the sound of a video is, in words, and the plot. Raises ``UserError``, ``Stopped``."""
        name = self._read(video, "picture", "Drop a video with sound first.")
        with self._busy, self._job(session, lambda done, of: None) as (room, _):
            found = self.model.sync(name, seconds=self.most_seconds)
            sound = read_both_sides(name, RATE)
            draw_alignment(room / "alignment.png", movement(name), sound, RATE)
            said = str(found)
            return f"{said[0].upper()}{said[1:]}.", room / "alignment.png"

    def retrieve(self, session: str, video: str | None, audio: str | None, top: int = 5) -> Answer:
        """The records that fit what was dropped. Raises ``UserError``, ``Stopped``."""
        if bool(video) == bool(audio):
            raise UserError("Drop a video, or a sound: one of the two.")
        name = self._read(video or audio, "picture" if video else "sound", "")
        with self._busy, self._job(session, lambda done, of: None):
            query = {"video": name} if video else {"audio": name}
            return self.model.retrieve(self.records, **query, top=int(top), index=self.folder / "index")

    def _read(self, path: str | None, kind: str, empty: str) -> str:
        """A file that was dropped. Raises ``UserError`` where there is none, it lies elsewhere, or is too long."""
        if not path:
            raise UserError(empty)
        if not Path(path).resolve().is_relative_to(self.folder.resolve()):
            raise UserError("only files that were dropped here are read")
        if kind:
            check_span(path, self.most_seconds, kind)
        return path

    def _job(self, session: str, tell: Tell) -> _Job:
        return _Job(self, session, tell)

    def room(self) -> Path:
        """A new folder for what a job makes."""
        old = sorted(self.made.iterdir(), key=lambda each: each.stat().st_mtime)
        for each in old[: max(0, len(old) - KEPT + 1)]:
            shutil.rmtree(each, ignore_errors=True)
        room = self.made / uuid.uuid4().hex
        room.mkdir()
        return room

    def begun(self, session: str) -> threading.Event:
        """What is set when the session asks for an end; not set now."""
        event = self._stops[session] = threading.Event()
        return event

    def ended(self, session: str) -> None:
        """Forgets the session's job."""
        self._stops.pop(session, None)


class _Job:
    """A job's folder, gone after an error, and what tells how far it is and stops it."""

    def __init__(self, jobs: Jobs, session: str, tell: Tell):
        self._jobs, self._session, self._tell = jobs, session, tell

    def __enter__(self) -> tuple[Path, Tell]:
        stop = self._jobs.begun(self._session)
        self._room = self._jobs.room()

        def told(done: int, of: int) -> None:
            if stop.is_set():
                raise Stopped
            self._tell(done, of)

        return self._room, told

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._jobs.ended(self._session)
        if kind is not None:
            shutil.rmtree(self._room, ignore_errors=True)
