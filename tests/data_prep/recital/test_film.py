"""The picture: a pure function of time, everything in sight, and every note seen where and when it is played."""

import numpy as np
import pytest

from data_prep.recital.compose import compose
from data_prep.recital.compression import compressed
from data_prep.recital.film import LANDMARKS, camera_knots, film, landmarks_of, places
from data_prep.recital.film.camera import camera_at
from data_prep.recital.film.keyboard import is_white, key_edges
from data_prep.recital.film.light import EXPOSURES, exposures
from data_prep.recital.film.motion import ease, held, path, ring, strikes
from data_prep.recital.film.strings import finger_place
from data_prep.recital.score import DRUMS, HIGHEST, INSTRUMENTS, LOWEST
from mvgen.clock import frame_centres
from mvgen.evaluation.metrics.motion import flow_magnitude


def test_minimum_jerk_rests_at_both_ends_and_keeps_its_places():
    times = np.linspace(0, 3, 301)
    track = path(times, (0.0, 1.0), [(1.0, 2.0, (4.0, 3.0))])
    np.testing.assert_allclose(track[times <= 1], [[0, 1]] * np.sum(times <= 1), atol=1e-12)
    np.testing.assert_allclose(track[times >= 2], [[4, 3]] * np.sum(times >= 2), atol=1e-12)
    np.testing.assert_allclose(track[150], (2, 2), atol=1e-9)
    assert ease(np.array([1e-3]))[0] < 1.1e-8


def test_what_is_pressed_is_down_at_the_onset_and_not_before_twenty_milliseconds():
    times = np.array([0.979, 1.0, 1.5, 1.999, 2.05])
    np.testing.assert_allclose(held(times, 1.0, 2.0), [0, 1, 1, 1, 0])
    np.testing.assert_allclose(ring(np.array([0.9, 1.0, 1.2]), 1.0, 0.2), [0, 1, np.exp(-1)])


def test_a_strike_is_fastest_at_its_onset_and_back_at_rest_before_the_next():
    times = np.arange(0, 3, 0.001)
    track = strikes(times, [1.0, 1.3], [0.5, 1.0])
    assert track[times < 0.989].max() == 0 and track[1240:1290].max() < 1e-9
    np.testing.assert_allclose(track[[1035, 1335]], [0.5, 1.0])
    assert abs(times[np.argmax(np.diff(track))] - 1.3125) < 0.002
    assert np.diff(track).max() > 5 * -np.diff(track).min()
    assert np.all(strikes(times, [], []) == 0)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_the_picture_moves_most_at_onsets_not_before(instrument):
    offsets = np.arange(-5, 6)
    moved = []
    for index in range(4):
        score = compose(14, index, instrument)
        flow = flow_magnitude(film(score, frame_centres(150).astype(float), (64, 64)))
        # Flow value i lies at the border between two frames, t = i / 25.
        borders = np.array([round(note.onset * 25) for note in score.notes if 0.3 < note.onset < 5.7])
        moved.append((flow[borders[:, None] + offsets] / flow.mean()).mean(axis=0))
    profile = np.mean(moved, axis=0)
    assert offsets[np.argmax(profile)] == 0
    assert profile[5] > 1.3 * max(profile[3], profile[7])


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_frame_depends_on_its_own_moment_alone(instrument):
    score = compose(2, 5, instrument)
    together = film(score, np.array([0.5, 1.5, 2.5]), (64, 64))
    np.testing.assert_array_equal(film(score, np.array([2.5, 1.5]), (64, 64)), together[[2, 1]])
    assert together.dtype == np.uint8 and together.shape == (3, 64, 64, 3)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_every_shape_shows_the_same_centre(instrument):
    score = compose(2, 6, instrument)
    square = film(score, np.array([1.0]), (120, 120))[0].astype(float)
    for height, width in ((120, 160), (120, 214), (160, 120)):
        whole = film(score, np.array([1.0]), (height, width))[0].astype(float)
        assert whole.shape == (height, width, 3)
        top, left = (height - 120) // 2, (width - 120) // 2
        centre = whole[top : top + 120, left : left + 120]
        # Grain and the fall of the light differ with the shape; what is drawn does not.
        assert np.abs(centre.mean((0, 1)) - square.mean((0, 1))).max() < 12
        assert np.corrcoef(centre.ravel(), square.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_all_places_stay_in_the_square_whatever_the_camera_does(instrument):
    for index in range(100):
        score = compose(8, index, instrument)
        camera = camera_at(camera_knots(score), np.linspace(0, score.seconds, 40))
        for _, x0, y0, x1, y1 in places(score):
            corners = np.array([(x, y, 1) for x in (x0, x1) for y in (y0, y1)])
            seen = np.einsum("tij,cj->tci", camera, corners)
            seen = seen[..., :2] / seen[..., 2:]
            assert seen.min() > 0 and seen.max() < 1


def test_places_tell_pitches_apart():
    for instrument in INSTRUMENTS:
        boxes = places(compose(0, 0, instrument))
        assert [box[0] for box in boxes] == (list(DRUMS) if instrument == "drums" else list(range(LOWEST, HIGHEST + 1)))
        middles = np.array([((x0 + x1) / 2, (y0 + y1) / 2) for _, x0, y0, x1, y1 in boxes])
        apart = np.linalg.norm(middles[:, None] - middles[None], axis=-1) + np.eye(len(boxes))
        assert apart.min() * 64 > 1.5, "places must be told apart at 64 pixels"


def test_keys_rise_from_left_to_right_and_strings_from_low_to_high():
    whites = [key_edges(pitch) for pitch in range(LOWEST, HIGHEST + 1) if is_white(pitch)]
    assert all(abs(left[1] - right[0]) < 1e-9 for left, right in zip(whites[:-1], whites[1:], strict=True))
    on_strings = [finger_place(pitch) for pitch in range(LOWEST, HIGHEST + 1)]
    for (x, y), (next_x, next_y) in zip(on_strings[:-1], on_strings[1:], strict=True):
        assert next_x > x if next_y == y else next_y < y


def corners_seen(camera, x0, y0, x1, y1):
    seen = np.array([(x, y, 1) for x in (x0, x1) for y in (y0, y1)]) @ camera.T
    return seen[:, :2] / seen[:, 2:]


def changed_places(frames, boxes, camera, onset):
    """Pitches in the order of how much their places change from just before the onset to just after."""
    frame = int(onset * 25)
    change = frames[frame + 1 : frame + 3].mean(axis=0) - frames[frame - 2 : frame].mean(axis=0)
    amounts = []
    for _, x0, y0, x1, y1 in boxes:
        corners = 64 * corners_seen(camera, x0, y0, x1, y1)
        (left, top), (right, bottom) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
        amounts.append(np.mean(change[top:bottom, left:right] ** 2))
    return [boxes[place][0] for place in np.argsort(amounts)[::-1]]


@pytest.mark.parametrize(("instrument", "least"), [("keyboard", 0.88), ("strings", 0.9), ("drums", 0.9)])
def test_with_lamps_what_plays_is_read_from_the_pixels(instrument, least):
    right, chance = [], []
    for index in range(4):
        score = compose(12, index, instrument, lamps=True)
        frames = film(score, frame_centres(150).astype(float), (64, 64)).astype(float)
        boxes = places(score)
        for onset in sorted({note.onset for note in score.notes if 0.12 < note.onset < 5.88}):
            playing = {note.pitch for note in score.notes if abs(note.onset - onset) < 0.01}
            found = changed_places(frames, boxes, camera_at(camera_knots(score), np.array([onset]))[0], onset)
            right.append(len(playing & set(found[: len(playing)])) / len(playing))
            chance.append(len(playing) / len(boxes))
    assert np.mean(right) >= least > 2 * np.mean(chance)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_nothing_lights_up_by_default(instrument):
    """With lamps the places that sound are brighter or more colourful than without; all else is the same."""
    plain, lit = (compose(12, 1, instrument, lamps=lamps) for lamps in (False, True))
    assert (plain.notes, plain.lamps, lit.lamps) == (lit.notes, False, True)
    assert compose(12, 1, instrument, change="lamps").lamps
    first = min(note.onset for note in plain.notes)
    before, after = np.array([first - 0.06]), np.array([first + 0.06])
    np.testing.assert_array_equal(film(plain, before, (96, 96)), film(lit, before, (96, 96)))
    differ = np.abs(film(lit, after, (96, 96)).astype(int) - film(plain, after, (96, 96))).max(axis=-1)[0] > 40
    camera = camera_at(camera_knots(plain), after)[0]
    inside = np.zeros((96, 96), bool)
    for pitch, x0, y0, x1, y1 in places(plain):
        if any(note.pitch == pitch and abs(note.onset - first) < 0.05 for note in plain.notes):
            corners = 96 * corners_seen(camera, x0, y0, x1, y1)
            (left, top), (right, bottom) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
            inside[top - 2 : bottom + 2, left - 2 : right + 2] = True
    assert differ.sum() > 5
    if instrument == "drums":  # a place of the others is the part that no hand covers, and a string lights up too
        assert differ[inside].sum() > 0.9 * differ.sum()
    assert differ[inside].sum() > 0.3 * differ.sum()


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_the_picture_changes_most_at_onsets(instrument):
    for index in range(3):
        score = compose(13, index, instrument)
        frames = film(score, frame_centres(150).astype(float), (64, 64)).astype(np.float32)
        # The change from one frame to the next lies at their border, t = (i + 1) / 25.
        change = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
        borders = (np.arange(149) + 1) / 25
        onsets = np.array([note.onset for note in score.notes])
        near = np.abs(borders[:, None] - onsets[None]).min(axis=1) <= 0.03
        assert change[near].mean() > 1.3 * change[~near].mean()


def footage(instrument, indices, **options):
    return [compose(31, index, instrument, footage=True, **options) for index in indices]


def foreshortening(score):
    """How much larger the near edge of the scene is seen than the far one, on average."""
    g, h = camera_knots(score)[:, 7:].T
    return np.mean((1 + 0.5 * g) / (1 + 0.5 * g + h))


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_held_by_hand_it_moves_and_never_loses_sight(instrument):
    moved, slants = [], []
    for score in footage(instrument, range(40)):
        times = np.linspace(0, score.seconds, 60)
        camera = camera_at(camera_knots(score), times)
        for _, x0, y0, x1, y1 in places(score):
            seen = np.array([corners_seen(at, x0, y0, x1, y1) for at in camera[::12]])
            assert seen.min() > 0 and seen.max() < 1
        middle = camera @ (0.5, 0.5, 1.0)
        moved.append(np.ptp(middle[:, 0] / middle[:, 2]))
        slants.append(np.abs(camera[:, 2, :2]).max())
    assert np.median(moved) > 0.005 and np.median(slants) > 0.05
    far = [compose(31, index, instrument, footage=True, change="camera") for index in range(40)]
    assert min(map(foreshortening, far)) > max(map(foreshortening, footage(instrument, range(40))))


def test_a_cut_changes_the_camera_from_one_frame_to_the_next():
    scores = footage("strings", range(60))
    cuts = [np.flatnonzero(np.diff(camera_knots(score)[:, 0]) == 0) for score in scores]
    assert 0.1 < np.mean([len(cut) > 0 for cut in cuts]) < 0.45
    score, (cut,) = next((score, cut) for score, cut in zip(scores, cuts, strict=True) if len(cut))
    at = camera_knots(score)[cut, 0]
    before, after = camera_at(camera_knots(score), np.array([at - 1e-6, at]))
    np.testing.assert_allclose(before.ravel()[:8], camera_knots(score)[cut, 1:], atol=1e-3)
    np.testing.assert_allclose(after.ravel()[:8], camera_knots(score)[cut + 1, 1:], atol=1e-9)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_hands_move_in_rests_and_nothing_sounds(instrument):
    rests = [score for score in footage(instrument, range(60)) if score.gestures]
    assert rests
    for score in rests[:3]:
        for begins, ends in score.gestures:
            assert not any(note.onset < ends and note.offset > begins for note in score.notes)
            still = landmarks_of(score, np.array([begins - 0.1]))[0]
            away = landmarks_of(score, np.array([(begins + ends) / 2]))[0]
            hands = [LANDMARKS.index("left_hand"), LANDMARKS.index("right_hand")]
            both = (still[hands, 2] > 0) & (away[hands, 2] > 0)
            gone = (still[hands, 2] > 0) & (away[hands, 2] == 0)
            assert gone.any() or np.abs(away[hands][both, :2] - still[hands][both, :2]).max() > 0.03
    assert not compose(31, rests[0].index, instrument).gestures


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_landmarks_lie_where_the_pixels_show_them(instrument):
    """The picture around a fingertip or a stick's tip moves with it: skin and heads differ from what they pass over."""
    score = compose(3, 4, instrument, footage=True)
    times = frame_centres(150).astype(float)[20:80]
    points = landmarks_of(score, times)
    assert points.shape == (60, len(LANDMARKS), 3) and set(np.unique(points[..., 2])) <= {0.0, 1.0}
    seen = points[..., 2].all(axis=0)
    assert seen.sum() >= (3 if instrument in ("drums", "marimba") else 6)
    # A patch around the point, laid over itself frame by frame, changes less than the same patch at one place.
    frames = film(score, times, (128, 128)).astype(float)
    still, along = [], []
    for place in np.flatnonzero(seen):
        x, y = np.clip(np.round(points[:, place, :2] * 128).astype(int), 4, 123).T
        if np.ptp(x) + np.ptp(y) < 12:
            continue
        patches = [frame[j - 2 : j + 3, i - 2 : i + 3] for frame, i, j in zip(frames, x, y, strict=True)]
        along.append(np.std(patches, axis=0).mean())
        still.append(np.std(frames[:, y.min() - 2 : y.max() + 3, x.min() - 2 : x.max() + 3], axis=0).max())
    assert along and np.mean(along) < np.mean(still)


def test_a_second_player_sits_beside_and_does_not_play():
    duos = [score for score in footage("keyboard", range(80)) if score.partner]
    assert 0.03 < len(duos) / 80 < 0.3
    score = duos[0]
    assert not score.silent_partner().notes and score.silent_partner().gestures
    boxes = np.array(places(score))[:, 1:]
    assert boxes[:, [0, 2]].max() <= 0.5 or boxes[:, [0, 2]].min() >= 0.5
    picture = film(score, np.array([1.0]), (96, 128))[0].astype(int)
    assert np.abs(picture[:, 63] - picture[:, 64]).mean() > np.abs(np.diff(picture, axis=1)).mean()


def test_quick_movement_blurs_where_the_shutter_is_slow():
    scores = footage("drums", range(12))
    assert {len(exposures(score)) for score in scores} == {1, EXPOSURES}
    assert all(np.ptp(exposures(score)) <= 0.02 for score in scores) and len(exposures(compose(31, 0, "drums"))) == 1


def test_a_phone_s_compression_keeps_number_and_size_and_takes_detail():
    score = footage("guitar", [3])[0]
    frames = film(score, frame_centres(10).astype(float), (64, 96))
    errors = []
    for crf in (20, 34):
        kept = list(compressed(iter(frames), (64, 96), crf))
        assert len(kept) == 10 and kept[0].shape == (64, 96, 3) and kept[0].dtype == np.uint8
        np.testing.assert_array_equal(np.array(kept), np.array(list(compressed(iter(frames), (64, 96), crf))))
        errors.append(np.abs(np.array(kept).astype(int) - frames).mean())
    assert 0 < errors[0] < errors[1] < 25
