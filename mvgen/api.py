"""The Python API: what :func:`mvgen.load` gives. The commands ``generate``, ``sync`` and ``retrieve`` are faces of it.

    model = mvgen.load("runs/demo/train")
    music = model.video_to_music("performance.mp4", seed=1)
    music.save("with music.mp4")          # the performance's own picture, with the new sound
    model.video_to_notes("performance.mp4").save("performance.mid")
    film = model.music_to_video("first frame.png", "song.wav")
    film.save("film.mp4")
    print(model.sync("performance.mp4"))
    print(model.retrieve("records", video="performance.mp4"))

Files go in, results come out; each has ``save(path)`` and shows itself in a notebook. Time is in seconds; there are 25
frames and 50 tokens a second (:mod:`mvgen.clock`). Whatever the user can mend is a :class:`mvgen.errors.UserError` of
one line. Ctrl-C ends any of it and leaves no half file. The same seed gives the same result on the same kind of
machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mvgen import clock
from mvgen.errors import UserError, in_range, seed_in_range
from mvgen.inference.film import Film, enlargement
from mvgen.inference.following import STRENGTH, following
from mvgen.inference.full_size import FullSize
from mvgen.inference.inputs import read_any_sound, read_first_image, read_tokens, read_whole_first_image
from mvgen.inference.loaded import Loaded
from mvgen.inference.mastering import Mastering, read_both_sides
from mvgen.inference.music import Music
from mvgen.inference.music_to_video import Filming, film_pieces
from mvgen.inference.options import Prompt
from mvgen.inference.progress import Progress
from mvgen.inference.retrieval import Answer, Found, retrieve
from mvgen.inference.sampling import Following, Sampling
from mvgen.inference.streaming import MusicStream, check_sound
from mvgen.inference.synchronisation import LOOKED_AT_SECONDS, REACH_SECONDS, Offset, Synchroniser
from mvgen.inference.video_to_music import generate_music, stream_music
from mvgen.inference.video_to_notes import SOUNDING, STARTING, Note, Notes, check_note_head, notes_of, read_rolls
from mvgen.media.midi import is_midi
from mvgen.media.sound import cut
from mvgen.models.token_decoder import Text

__all__ = [
    "Answer",
    "Film",
    "Filming",
    "Found",
    "Mastering",
    "Music",
    "MusicStream",
    "Note",
    "Notes",
    "Offset",
    "Pipeline",
    "Progress",
    "Prompt",
    "Sampling",
    "UserError",
]

File = str | os.PathLike[str]
SAMPLING, FILMING = Sampling(), Filming()
"""How music and frames are drawn unless told."""


class Pipeline:
    """A trained model at work on files. What is read and compiled once is kept: the first call of each kind is slow.

    Args:
        checkpoint, semantic, landmarks, text_encoder: see :func:`mvgen.load`.

    Attributes:
        loaded: the model, its configuration, codec and readers.

    Raises:
        UserError: it is no checkpoint, or cannot be read.
    """

    def __init__(self, checkpoint: File, *, semantic: str = "", landmarks: str = "", text_encoder: str = ""):
        self.loaded = Loaded(checkpoint, semantic, landmarks)
        self._text_encoder = text_encoder

    def __repr__(self) -> str:
        return f"Pipeline({self.loaded.checkpoint!r})"

    @property
    def reads_notes(self) -> bool:
        """Whether the model has a note head, which :meth:`video_to_notes` needs."""
        return self.loaded.model.notes is not None

    def video_to_music(
        self,
        video: File,
        prompt: str | Prompt | None = None,
        seconds: float | None = None,
        seed: int = 0,
        *,
        beginning: File | None = None,
        notes: File | None = None,
        follow_notes: float = STRENGTH,
        soundfont: str = "",
        sampling: Sampling = SAMPLING,
        progress: Progress = True,
    ) -> Music:
        """The music that is played in a video. Its own sound is not heard.

        Args:
            video: the performance, of any frame rate and size, up to an hour.
            prompt: words beside it, for a model that reads text.
            seconds: of the video, from its start; by default, and at most, all of it.
            seed: another one gives another take, where ``sampling`` draws at all (temperature above 0).
            beginning: a sound, or a video with sound: the music's beginning, to go on from.
            notes: a MIDI file that the music follows where the picture leaves it open.
            follow_notes: how closely; 0: not at all.
            soundfont: plays it (.sf2, .sf3); empty: the one that pretty_midi carries.
            sampling: how tokens are drawn.
            progress: whether a bar is shown over windows, or a function that is told how many of how many are done;
                what that raises ends the work.

        Raises:
            UserError: a file cannot be read, or a setting cannot be.
        """
        (music,) = self.video_to_music_batch(
            [video], prompt, seconds, [seed], beginning=beginning, notes=notes, follow_notes=follow_notes,
            soundfont=soundfont, sampling=sampling, progress=progress,
        )  # fmt: skip
        return music

    def video_to_music_batch(
        self,
        videos: Sequence[File],
        prompt: str | Prompt | None = None,
        seconds: float | None = None,
        seeds: Sequence[int] | None = None,
        *,
        beginning: File | None = None,
        notes: File | None = None,
        follow_notes: float = STRENGTH,
        soundfont: str = "",
        sampling: Sampling = SAMPLING,
        progress: Progress = True,
        together: int = 8,
    ) -> list[Music]:
        """The music of several videos; those of equal length are played together, which is faster.

        Args:
            videos: the performances.
            prompt, seconds, beginning, notes, follow_notes, soundfont, sampling, progress: see :meth:`video_to_music`;
                progress is told for each group that is played together.
            seeds: one for each; by default 0 for all. A video's draws do not hang on its neighbours.
            together: at most so many at a time.

        Returns:
            One for each, in their order.

        Raises:
            UserError: as there, at the first that cannot be read.
        """
        names = [os.fspath(video) for video in videos]
        seeds = [0] * len(names) if seeds is None else seeds
        if len(seeds) != len(names):
            raise UserError(f"{len(seeds)} seeds for {len(names)} videos; give one for each")
        for seed in seeds:
            seed_in_range("seed", seed)
        text = self._prompt(prompt).embedded(self.loaded.model) if prompt is not None else None
        begun = self._beginning(beginning)
        asked = self._following(notes, follow_notes, soundfont)
        found: dict[int, Music] = {}
        waiting: dict[int, dict[int, dict[str, np.ndarray]]] = {}  # by length, then by number: what is not yet played

        def play(films: dict[int, dict[str, np.ndarray]]) -> None:
            chosen = list(films)
            seen = {name: np.stack([films[number][name] for number in chosen]) for name in films[chosen[0]]}
            tokens = generate_music(
                self.loaded.model, seen, jnp.concatenate([_key(seeds[number]) for number in chosen]), sampling,
                self.loaded.window, progress=progress, text=None if text is None else _repeated(text, len(chosen)),
                prompt=None if begun is None else np.repeat(begun, len(chosen), 0),
                following=asked and asked._replace(tokens=jnp.repeat(asked.tokens, len(chosen), 0)),
            )  # fmt: skip
            sounds = check_sound(np.asarray(self.loaded.codec.decode(jnp.asarray(tokens))))
            rate = self.loaded.codec.sampling_rate
            for at, number in enumerate(chosen):
                found[number] = Music(names[number], tokens[at], sounds[at], rate, seconds, seeds[number])

        for number, name in enumerate(names):
            film = self._film(name, seconds, beginning, begun)
            group = waiting.setdefault(len(film["frames"]), {})
            group[number] = film
            if len(group) >= together:
                play(waiting.pop(len(film["frames"])))
        for group in waiting.values():
            play(group)
        return [found[number] for number in range(len(names))]

    def stream_music(
        self,
        video: File,
        prompt: str | Prompt | None = None,
        seconds: float | None = None,
        seed: int = 0,
        *,
        beginning: File | None = None,
        notes: File | None = None,
        follow_notes: float = STRENGTH,
        soundfont: str = "",
        sampling: Sampling = SAMPLING,
    ) -> MusicStream:
        """The same music while it is made: go through it, and its sound comes in pieces.

        Args:
            video, prompt, seconds, seed, beginning, notes, follow_notes, soundfont, sampling: see
                :meth:`video_to_music`.

        Raises:
            UserError: as there.
        """
        seed_in_range("seed", seed)
        text = self._prompt(prompt).embedded(self.loaded.model) if prompt is not None else None
        begun = self._beginning(beginning)
        asked = self._following(notes, follow_notes, soundfont)
        film = self._film(os.fspath(video), seconds, beginning, begun)
        seen = {name: values[None] for name, values in film.items()}
        pieces = stream_music(
            self.loaded.model, seen, _key(seed), sampling, self.loaded.window, text=text, prompt=begun, following=asked
        )
        return MusicStream(pieces, self.loaded.codec, len(film["frames"]))

    def video_to_notes(
        self, video: File, seconds: float | None = None, *, starting: float = STARTING, sounding: float = SOUNDING
    ) -> Notes:
        """Which notes are played in a video. Its own sound is not heard.

        Args:
            video: the performance, up to an hour.
            seconds: of the video, from its start; by default, and at most, all of it.
            starting, sounding: how sure the model must be that a note starts, and that it sounds on, 0 to 1; lower
                ones give more and longer notes.

        Raises:
            UserError: the model reads no notes, the file cannot be read, or a setting cannot be.
        """
        in_range("starting", starting, 0, 1)
        in_range("sounding", sounding, 0, 1)
        check_note_head(self.loaded.model)
        name = os.fspath(video)
        film = self._film(name, seconds, None, None)
        rolls = read_rolls(self.loaded.model, film, self.loaded.window)
        return Notes(name, notes_of(rolls, starting, sounding), len(film["frames"]) / clock.FRAME_RATE)

    def music_to_video(
        self,
        image: File,
        audio: File,
        seconds: float | None = None,
        seed: int = 0,
        *,
        filming: Filming = FILMING,
        soundfont: str = "",
        progress: Progress = True,
    ) -> Film:
        """The film of a piece of music, beginning with an image, at the image's size and shape.

        Args:
            image: the first frame: an image, or a video to take it from.
            audio: the music: a sound, a video with sound, or MIDI; up to an hour.
            seconds: of the music, from its start; by default, and at most, all of it.
            seed: another one gives another film.
            filming: how frames are drawn.
            soundfont: plays a MIDI file (.sf2, .sf3); empty: the one that pretty_midi carries.
            progress: see :meth:`video_to_music`, over stretches of frames.

        Raises:
            UserError: a file cannot be read, or a setting cannot be.
        """
        seed_in_range("seed", seed)
        loaded, names = self.loaded, (os.fspath(image), os.fspath(audio))
        autoencoder, size = loaded.autoencoder, loaded.frame_size
        first = read_first_image(names[0], size)[None]
        enlarged = None if autoencoder else FullSize(read_whole_first_image(names[0]), size)
        tokens = read_tokens(names[1], loaded.codec, soundfont)
        if seconds is not None:
            tokens = tokens[:, : clock.tokens_of(_frames_in(seconds))]
        rate = clock.STANDARD_SAMPLE_RATE
        sound = read_any_sound(names[1], rate, soundfont) if is_midi(names[1]) else read_both_sides(names[1], rate)
        length = clock.frame_start(clock.frames_of(tokens.shape[1]))
        sides = [cut(side, rate, 0, length) for side in np.atleast_2d(sound)]
        pieces = film_pieces(
            loaded.model, first, tokens, _key(seed), filming, loaded.window, autoencoder, progress=progress
        )
        painted = (frame for piece in pieces for frame in (enlarged.frames(piece) if enlarged else piece.frames[0]))
        sound = np.stack(sides) if len(sides) > 1 else sides[0]
        return Film(painted, *names, sound, rate, seed, scale=1 if enlarged else enlargement(first))

    def music_to_video_batch(
        self,
        pairs: Iterable[tuple[File, File]],
        seconds: float | None = None,
        seed: int = 0,
        *,
        filming: Filming = FILMING,
        soundfont: str = "",
        progress: Progress = True,
    ) -> list[Film]:
        """Several films, one after another: each keeps its picture on disk, and one alone fills the machine.

        Args:
            pairs: of an image and music each.
            seconds, seed, filming, soundfont, progress: see :meth:`music_to_video`.

        Raises:
            UserError: as there, at the first that cannot be made.
        """
        return [
            self.music_to_video(
                image, audio, seconds, seed, filming=filming, soundfont=soundfont, progress=progress
            )
            for image, audio in pairs
        ]  # fmt: skip

    def sync(self, video: File, *, reach: float = REACH_SECONDS, seconds: float = LOOKED_AT_SECONDS) -> Offset:
        """How many milliseconds late the sound of a video is against its picture, and how sure that is.

        Args:
            video: with sound.
            reach: seconds either way within which it is looked for.
            seconds: so much of the video is looked at.

        Raises:
            UserError: it has no picture or no sound, is too short, or a setting cannot be.
        """
        return Synchroniser(self.loaded, reach, seconds)(os.fspath(video))

    def sync_batch(
        self, videos: Iterable[File], *, reach: float = REACH_SECONDS, seconds: float = LOOKED_AT_SECONDS
    ) -> list[Offset]:
        """The same of several videos, in their order."""
        synchroniser = Synchroniser(self.loaded, reach, seconds)
        return [synchroniser(os.fspath(video)) for video in videos]

    def retrieve(
        self, records: File, *, video: File | None = None, audio: File | None = None, top: int = 5, index: File = ""
    ) -> Answer:
        """The records that fit a video, or music, best. Of a video the sound is not heard, of records the other side.

        Args:
            records: a folder of records, all of whose splits are searched.
            video, audio: what is asked for; one of the two.
            top: how many.
            index: where indexes are kept; by default beside the records.

        Raises:
            UserError: a file cannot be read or is shorter than a window, or the records are another model's.
        """
        return retrieve(
            self.loaded, os.fspath(records), video=os.fspath(video or ""), audio=os.fspath(audio or ""), top=top,
            index=os.fspath(index),
        )  # fmt: skip

    def _prompt(self, prompt: str | Prompt) -> Prompt:
        return prompt if isinstance(prompt, Prompt) else Prompt(prompt, self._text_encoder or None, None)

    def _beginning(self, beginning: File | None) -> np.ndarray | None:
        return None if beginning is None else read_tokens(os.fspath(beginning), self.loaded.codec)

    def _following(self, notes: File | None, strength: float, soundfont: str) -> Following | None:
        return None if notes is None else following(os.fspath(notes), self.loaded.codec, soundfont, strength)

    def _film(
        self, video: str, seconds: float | None, beginning: File | None, begun: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        film = self.loaded.read_film(video, None if seconds is None else _frames_in(seconds))
        frames = len(film["frames"])
        if not frames:
            raise UserError(f"{video}: its picture is shorter than a frame ({1 / clock.FRAME_RATE} s)")
        if begun is not None and clock.frames_of(begun.shape[1]) >= frames:
            raise UserError(
                f"{os.fspath(beginning or '')}: lasts {begun.shape[1] / clock.TOKEN_RATE:g} s, which leaves nothing "
                f"to play of a video of {frames / clock.FRAME_RATE:g} s"
            )
        return film


def _key(seed: int) -> jax.Array:
    """The random keys of one request, ``[1]``."""
    return jax.random.split(jax.random.key(seed), 1)


def _repeated(text: Text, count: int) -> Text:
    """One embedded prompt for each of so many requests."""
    return jax.tree.map(lambda part: jnp.repeat(part, count, axis=0), text)


def _frames_in(seconds: float) -> int:
    """Raises ``UserError`` where so many seconds are not two frames."""
    frames = clock.whole_frames(seconds) if 0 < seconds < float("inf") else 0
    if frames < 2:
        raise UserError(f"seconds {seconds}: it must be a number of at least {2 / clock.FRAME_RATE:g}")
    return frames
