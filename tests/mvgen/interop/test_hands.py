"""Hands over time: tracks become landmarks, models out of wheels and folders, and a real film where one lies beside."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mvgen.errors import UserError
from mvgen.interop import hands, litert
from mvgen.interop.hand_geometry import Palm, Square, next_square
from mvgen.interop.hands import FILES, NAMES, HandTracker, Track, hand_models, hands_hash, told
from mvgen.interop.landmarks import LandmarkReader, cut_out, landmarks_hash
from mvgen.media import write_video

CLIPS = Path(__file__).parents[4] / "shared" / "clips"
HAND = np.stack([np.linspace(-5, 5, 21), np.linspace(10, -10, 21)], axis=1)


def track(first: int, frames: int, right: float, size: float = 1.0) -> Track:
    points = [HAND * size + [50 + number, 40] for number in range(frames)]
    return Track(next_square(points[-1]), first, points, [0.9] * frames, [right] * frames)


def test_each_track_is_one_hand_for_its_whole_length() -> None:
    wavering = track(0, 10, 0.9)
    wavering.right[3] = 0.1
    landmarks = told([wavering, track(5, 10, 0.2), track(12, 4, 0.8), track(20, 2, 0.8)], 24, (80, 100))
    assert landmarks.shape == (24, 42, 3) and len(NAMES) == 42
    left, right = landmarks[:, :21, 2].all(axis=1), landmarks[:, 21:, 2].all(axis=1)
    assert np.flatnonzero(left).tolist() == list(range(5, 15))
    assert np.flatnonzero(right).tolist() == [*range(10), *range(12, 16)]  # two frames alone are a mistake
    np.testing.assert_allclose(landmarks[3, 21, :2], [(50 + 3 - 5) / 100, 50 / 80], rtol=1e-6)
    assert not landmarks[16:].any()


def test_of_two_right_hands_the_nearer_stays() -> None:
    landmarks = told([track(0, 8, 0.9), track(0, 8, 0.8, size=2.0), track(0, 8, 0.7, size=0.5)], 8, (80, 100))
    reach = np.ptp(landmarks[0].reshape(2, 21, 3)[..., 1] * 80, axis=1)
    np.testing.assert_allclose(reach, [20, 40], rtol=1e-5)  # the other takes the free place, the third has none


class StandIn(HandTracker):
    """Sees one white blob as a hand, and nothing where there is none; counts how often the detector runs."""

    def __init__(self) -> None:
        self.searches = 0

    def find(self, picture: np.ndarray) -> list[Palm]:
        self.searches += 1
        where = np.argwhere(picture[..., 0] > 128)
        if not len(where):
            return []
        y, x = where.mean(axis=0)
        points = np.tile([x, y + 10.0], (7, 1))
        points[2] = [x, y - 10]
        return [Palm(0.9, np.array([x - 8, y - 8, x + 8, y + 8]), points)]

    def see(self, picture: np.ndarray, square: Square) -> tuple[np.ndarray, float, float]:
        where = np.argwhere(picture[..., 0] > 128)
        if not len(where):
            return np.zeros((21, 2)), 0.1, 0.5
        y, x = where.mean(axis=0)
        return HAND + [x, y], 0.95, 0.9


def test_a_hand_is_followed_and_found_again() -> None:
    pictures = np.zeros((40, 80, 100, 3), np.uint8)
    for number in [*range(4, 20), *range(26, 40)]:
        pictures[number, 38:42, 30 + number : 34 + number] = 255
    tracker = StandIn()
    landmarks = tracker(pictures)
    seen = landmarks[:, 21:, 2].max(axis=1) > 0
    # Looked for in every third frame while there is none, so found at most two frames late, and lost at once.
    assert seen[6:20].all() and not seen[20:26].any() and seen[28:].all() and not seen[:4].any()
    np.testing.assert_allclose(np.diff(landmarks[8:18, 21, 0]) * 100, 1, atol=1e-4)
    assert tracker.searches < 20
    still = [pictures[10]] * 12
    assert (StandIn()(still)[:, 21, 2] > 0).all()
    assert StandIn()(iter(())).shape == (0, 42, 3)


def test_the_cut_is_told_and_what_lies_outside_is_left_out() -> None:
    points = np.array([[[0.5, 0.5, 0.9], [0.25, 0.0, 0.8], [0.1, 0.5, 1.0], [0.5, 0.5, 0.0]]])
    found = cut_out(points, height=100, width=200, frame_size=(64, 64))  # the middle half of its width
    np.testing.assert_allclose(found[0], [[0.5, 0.5, 0.9], [0, 0, 0.8], [0, 0, 0], [0, 0, 0]], atol=1e-3)
    assert found.dtype == np.float16
    tall = cut_out(points, height=200, width=100, frame_size=(32, 64))
    np.testing.assert_allclose(tall[0, 2], [0.1, 0.5, 1.0], atol=1e-3)


def test_networks_out_of_a_wheel_or_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "mediapipe-0.10.21-cp311.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for number, name in enumerate(FILES):
            archive.writestr(name, bytes([number]) * 10)
    for name in FILES:
        (tmp_path / Path(name).name).write_bytes(bytes([FILES.index(name)]) * 10)
    assert hand_models(str(wheel)) == hand_models(str(tmp_path)) == [bytes(10), bytes([1]) * 10]
    assert hands_hash(str(wheel)) == hands_hash(str(tmp_path)) == landmarks_hash(f"mediapipe:{wheel}")
    monkeypatch.setattr(litert, "SHARED", tmp_path)
    monkeypatch.setattr(litert.importlib.util, "find_spec", lambda name: None)
    assert hands_hash("") == hands_hash(str(wheel))
    monkeypatch.setattr(litert, "SHARED", tmp_path / "gone")
    with pytest.raises(UserError, match="make setup-weights"):
        hand_models("")
    wheel.write_bytes(b"nothing")
    for location, said in ((str(wheel), "cannot be read as a wheel"), (str(tmp_path / "no"), "no"), ("/", "holds no")):
        with pytest.raises(UserError, match=said):
            hand_models(location)
    assert landmarks_hash("none") == ""
    with pytest.raises(UserError, match="there are no landmarks 'openpose'"):
        landmarks_hash("openpose")


def _networks_are_here() -> bool:
    try:
        hand_models("")
        import ai_edge_litert  # noqa: F401
    except (UserError, ImportError):
        return False
    return True


@pytest.mark.skipif(not _networks_are_here(), reason="extra `vision` is not set up")
def test_a_picture_without_hands_has_none(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), np.uint8)
    write_video(tmp_path / "film.mp4", frames, None, 44100)
    reader = pickle.loads(pickle.dumps(LandmarkReader("mediapipe", (16, 16))))
    found = reader.of_file(tmp_path / "film.mp4")
    assert found.shape == (4, 42, 3) and not found.any()


@pytest.mark.skipif(not _networks_are_here() or not CLIPS.is_dir(), reason="networks or clips are missing")
def test_a_violinists_hands_are_told_apart() -> None:
    """On a real film: the left hand, which stops the strings, is farther right in the picture than the bow's hand."""
    found = LandmarkReader("mediapipe", (64, 64)).of_file(CLIPS / "violin_01.mp4").astype(float)
    left, right = found[:, 0], found[:, 21]
    assert (left[:, 2] > 0).mean() > 0.5 and (right[:, 2] > 0).mean() > 0.3
    assert np.median(left[left[:, 2] > 0][:, 0]) > np.median(right[right[:, 2] > 0][:, 0]) + 0.1
    assert hands.LEAST <= left[left[:, 2] > 0][:, 2].min()
