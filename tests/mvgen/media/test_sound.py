"""Resampling, loudness and gaps."""

import av
import numpy as np

from mvgen.media import read_sound, write_wav
from mvgen.media.sound import cut, resample


def tone(sample_rate, hertz, seconds=1.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * sample_rate)) / sample_rate)).astype(np.float32)


def test_resampling_keeps_what_fits_and_drops_what_would_alias(tmp_path):
    write_wav(tmp_path / "low.wav", tone(44_100, 1000), 44_100)
    low = read_sound(tmp_path / "low.wav", 32_000)
    assert len(low) == 32_000
    np.testing.assert_allclose(low[2000:-2000], tone(32_000, 1000)[2000:-2000], atol=2e-4)
    # 20 kHz does not fit into 32 kHz: mirrored, it would be heard at 12 kHz.
    high = resample(tone(44_100, 20_000), 44_100, 32_000)
    assert np.abs(high[2000:-2000]).max() < 1e-4


def test_channels_are_averaged_and_loudness_kept(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=32_000, layout="stereo")
        both = np.stack([np.full(3200, 16384), np.full(3200, 8192)]).astype(np.int16).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(both), format="s16", layout="stereo")
        frame.sample_rate = 32_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    np.testing.assert_allclose(read_sound(tmp_path / "a.wav", 32_000), 0.375, atol=1e-4)


def test_cut_gives_exactly_what_is_asked():
    sound = np.arange(100, dtype=np.float32)
    np.testing.assert_array_equal(cut(sound, 10, 1, 2), np.arange(10, 30))
    np.testing.assert_array_equal(cut(sound, 10, 9, 2), [*range(90, 100), *[0] * 10])
    assert len(cut(sound, 10, 20, 1)) == 10 and len(cut(sound, 10, 2)) == 80
