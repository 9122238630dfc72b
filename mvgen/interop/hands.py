"""Hands in a film, followed from frame to frame: 21 points of each, with how sure they are.

MediaPipe's palm detector and hand network (Zhang et al. 2020, "MediaPipe Hands"), by LiteRT; this is our own code
around them. The detector, which looks at whole pictures, runs now and then; the hand network sees each hand in every
frame, in a square that the frame before has told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mvgen.interop.hand_geometry import HAND_SIDE, PALM_SIDE, POINTS, Palm, Square, next_square, palms, tiles
from mvgen.interop.litert import Network, contents_hash, package_files

MEDIAPIPE = "mediapipe"
FILES = (
    "mediapipe/modules/palm_detection/palm_detection_full.tflite",
    "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
)
MISSING = (
    "landmarks 'mediapipe' read two files of mediapipe's wheel, which is not here: `make setup-weights` fetches it; or "
    " `pip download --no-deps mediapipe==0.10.21`, and name that file: mediapipe:FILE.whl"
)
SIDES = ("left", "right")
FINGERS = ("thumb", "index", "middle", "ring", "little")
NAMES = tuple(
    f"{side}_{point}"
    for side in SIDES
    for point in ("wrist", *(f"{finger}_{joint}" for finger in FINGERS for joint in (1, 2, 3, "tip")))
)
"""Of the points, in order: the player's left hand, then the right one."""
LEAST = 0.5
"""What a palm's score and a hand's presence must reach."""
MOST_HANDS = 4
"""So many are followed at once; two of them are told."""
SEARCH_EVERY, LOOK_ROUND_EVERY = 3, 12
"""Frames between two runs of the detector, while no hand is followed, and while one is."""
SHORTEST = 3
"""A hand that is seen in fewer frames is taken for a mistake."""


def hand_models(location: str) -> list[bytes]:
    """The detector and the hand network. Raises ``UserError`` where they are not found."""
    return package_files(MEDIAPIPE, FILES, location, MISSING)


def hands_hash(location: str) -> str:
    """sha256 over both networks. Raises ``UserError`` where they are not found."""
    return contents_hash(hand_models(location))


@dataclass(eq=False)
class Track:
    """A hand over time.

    Attributes:
        square: where it is to be looked for next.
        first: number of the frame in which it was found.
        points: of each frame since then, float ``[21, 2]`` in pixels.
        presence: how sure the network is that there is a hand, one a frame.
        right: how sure it is that it is the player's right one.
    """

    square: Square
    first: int
    points: list[np.ndarray] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """Presence times the hand's size, summed over frames: who is nearer and longer there is told first."""
        sizes = [float(np.ptp(points, axis=0).max()) for points in self.points]
        return float(np.dot(sizes, self.presence))


class HandTracker:
    """Follows hands. Not to be shared among threads.

    Args:
        location: of the networks; see :func:`mvgen.interop.litert.package_files`.

    Raises:
        UserError: LiteRT or the networks are missing.
    """

    def __init__(self, location: str = ""):
        detector, hand = hand_models(location)
        self._detector, self._hand = Network(detector), Network(hand)

    def find(self, picture: np.ndarray) -> list[Palm]:
        """Palms in a picture, uint8 ``[H, W, 3]``, in its pixels."""
        found: list[Palm] = []
        for tile in tiles(*picture.shape[:2]):
            boxes, scores = self._detector(tile.cut(picture, PALM_SIDE))
            matrix = tile.matrix(1)  # an upright square: boxes stay boxes
            for palm in palms(boxes, scores[:, 0], LEAST):
                corners = palm.box.reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]
                found.append(Palm(palm.score, corners.ravel(), palm.points @ matrix[:, :2].T + matrix[:, 2]))
        return sorted(found, key=lambda palm: -palm.score)

    def see(self, picture: np.ndarray, square: Square) -> tuple[np.ndarray, float, float]:
        """A hand's points in a picture, float ``[21, 2]`` in pixels, its presence, and the chance of a right one."""
        places, presence, right, *_ = self._hand(square.cut(picture, HAND_SIDE))
        matrix = square.matrix(HAND_SIDE)
        points = places.reshape(POINTS, 3)[:, :2].astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
        return points, float(presence[0]), float(right[0])

    def __call__(self, pictures: Iterable[np.ndarray]) -> np.ndarray:
        """Follows the hands of a film.

        Args:
            pictures: uint8 ``[H, W, 3]``, one a frame; one that is the same object as the last shows the same.

        Returns:
            float32 ``[T, 42, 3]`` in the order of :data:`NAMES`: x, y in 0..1 of the picture and confidence; zeros
            where a hand is not seen. Points of a hand that is seen may lie outside.
        """
        followed: list[Track] = []
        done: list[Track] = []
        before: np.ndarray | None = None
        count, size = 0, (1, 1)
        for number, picture in enumerate(pictures):
            count, size = number + 1, picture.shape[:2]
            if picture is before:
                for track in followed:
                    track.points.append(track.points[-1])
                    track.presence.append(track.presence[-1])
                    track.right.append(track.right[-1])
                continue
            before = picture
            due = number % (LOOK_ROUND_EVERY if followed else SEARCH_EVERY) == 0
            kept = [track for track in followed if self._go_on(track, picture)]
            lost = [track for track in followed if track not in kept]
            done += lost
            followed = self._without_doubles(kept, done)
            if (due or lost) and len(followed) < MOST_HANDS:
                self._look_round(picture, number, followed)
        return told(done + followed, count, size)

    def _go_on(self, track: Track, picture: np.ndarray) -> bool:
        points, presence, right = self.see(picture, track.square)
        if presence < LEAST:
            return False
        track.points.append(points)
        track.presence.append(presence)
        track.right.append(right)
        track.square = next_square(points)
        return True

    def _look_round(self, picture: np.ndarray, number: int, followed: list[Track]) -> None:
        for palm in self.find(picture):
            x, y = (palm.box[:2] + palm.box[2:]) / 2
            if len(followed) < MOST_HANDS and not any(track.square.holds(x, y) for track in followed):
                track = Track(palm.square(), number)
                if self._go_on(track, picture):
                    followed.append(track)

    @staticmethod
    def _without_doubles(tracks: Sequence[Track], done: list[Track]) -> list[Track]:
        """Of tracks that have come to the same hand only the longest goes on."""
        kept: list[Track] = []
        for track in sorted(tracks, key=lambda track: -len(track.points)):
            if any(_one_hand(track, other) for other in kept):
                done.append(track)
            else:
                kept.append(track)
        return kept


def _one_hand(track: Track, other: Track) -> bool:
    middle, elsewhere = (each.points[-1].mean(axis=0) for each in (track, other))
    return other.square.holds(*middle) and track.square.holds(*elsewhere)


def told(tracks: Sequence[Track], frames: int, size: Sequence[int]) -> np.ndarray:
    """Tracks as landmarks, float32 ``[frames, 42, 3]``: each is the left or the right hand over its whole length.

    Where two are the same hand at one time, the heavier (:attr:`Track.weight`) stays, and the other takes the place of
    the other hand if that is free.

    Args:
        tracks: in any order.
        frames: how many there are.
        size: (height, width) of the pictures.
    """
    landmarks = np.zeros((frames, len(SIDES), POINTS, 3), np.float32)
    taken = np.zeros((frames, len(SIDES)), bool)
    extent = np.array([size[1], size[0]])
    for track in sorted(tracks, key=lambda track: -track.weight):
        span = slice(track.first, track.first + len(track.points))
        if len(track.points) < SHORTEST:
            continue
        side = int(np.average(track.right, weights=track.presence) >= 0.5)
        free = next((hand for hand in (side, 1 - side) if not taken[span, hand].any()), None)
        if free is None:
            continue
        taken[span, free] = True
        places = np.stack(track.points) / extent
        sure = np.broadcast_to(np.array(track.presence)[:, None], places.shape[:2])
        landmarks[span, free] = np.concatenate([places, sure[..., None]], axis=-1)
    return landmarks.reshape(frames, len(NAMES), 3)
