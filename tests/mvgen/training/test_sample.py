"""Tests of what TensorBoard shows of a held-out window: the real thing for a tiny model, and where it is asked for."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from mvgen.data.records import RecordSpec
from mvgen.models.mvgen import MVGen
from mvgen.training import loop, sharding, step
from mvgen.training.held_out import held_out_sample
from mvgen.training.logger import Progress
from mvgen.training.sample import Sample
from tests.mvgen.synthetic import SPEC, tiny, write_records

RATE = 32_000


def framed(data: bytes) -> Iterator[bytes]:
    """The records of a file of events: each between its length, with a checksum, and its own checksum."""
    while data:
        end = 12 + int.from_bytes(data[:8], "little")
        yield data[12:end]
        data = data[end + 4 :]


def test_the_average_is_given_a_held_out_window_and_tensorboard_gets_what_it_makes(tmp_path: Path) -> None:
    config = tiny(write_records(tmp_path / "records", {"train": [12], "test": [12, 20]}))
    program = step.build(config, SPEC, sharding.make_mesh(devices=jax.devices()[:1]))
    windows = loop.open_windows(config, "test")
    params = nnx.to_pure_dict(nnx.state(step.make_model(config, SPEC), nnx.Param))
    params = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), params, program.abstract.ema)
    own = windows.cut(0, np.random.default_rng(0))

    def sampler(model: MVGen, spec: RecordSpec, window: dict[str, np.ndarray], film: bool) -> Sample:
        """Turns the window around."""
        jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(model, nnx.Param)), params)
        jax.tree.map(np.testing.assert_array_equal, window, own)
        assert spec == SPEC and film
        tone = np.sin(np.arange(10 * 1280) / 9).astype(np.float32)
        return Sample(tone[::-1], tone, RATE, window["frames"][::-1], window["frames"])

    with jax.transfer_guard("disallow"):  # as in the loop
        sample = held_out_sample(config, program, sampler, params, windows)
    (tmp_path / "run").mkdir()
    progress = Progress(tmp_path / "run", 10)
    progress.sample(3, sample)
    progress.close()
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    found = [Event.FromString(record) for record in framed(events.read_bytes())]
    values = {value.tag: value for event in found for value in event.summary.value}
    assert values.keys() == {"sample/film", "sample/spectrogram", "sample/made", "sample/original"}
    picture = np.asarray(Image.open(io.BytesIO(values["sample/film"].image.encoded_image_string)))
    assert picture.shape == (2 * 16 + 4, 10 * 16, 3)  # made above, original below
    np.testing.assert_array_equal(
        picture[20:, ::16], np.broadcast_to(own["frames"][:, :1, 0], (10, 16, 3)).swapaxes(0, 1)
    )
    np.testing.assert_array_equal(picture[:16], picture[20:].reshape(16, 10, 16, 3)[:, ::-1].reshape(16, 160, 3))
    with wave.open(io.BytesIO(values["sample/original"].audio.encoded_audio_string)) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, 10 * 1280)


def test_a_tone_is_seen_at_its_height_and_a_silent_sound_is_dark() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    picture = Sample(np.zeros_like(tone), tone, RATE).pictures()
    assert picture.keys() == {"spectrogram"}
    made, own = picture["spectrogram"][:160, :, 0], picture["spectrogram"][164:, :, 0]
    assert made.max() == 0 and own.shape == (160, 4 * 101) and own.max() == 255
    brightest = own[:, 200].argmax()
    assert 95 < brightest < 125  # 1 kHz lies at 15 mels of 61, from below
