"""A few real training steps: the loss falls, a stopped run goes on exactly, the file is transformers' own."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
import torch
from transformers import EncodecModel

from data_prep.codec.losses import Balancer, OnsetLoss, SpectralLoss, waveform_loss
from data_prep.codec.network import LEVEL, Network, tiny_config, write_codec
from data_prep.codec.sound import Sound, TrainingCrops, level_of
from data_prep.codec.train import FINISHING, Finisher, Recipe, Trainer, start_from, train
from mvgen.errors import UserError
from mvgen.media.mel import mel_bands, spectra

SMALL = dict(filters=4, hidden=16, codebooks=2, entries=16, batch=4, kmeans_batches=8, warm_up=5, content=4)


def tones(kind: str, count: int, seed: int) -> list[Sound]:
    """Half-second notes of decaying partials, two seconds a sound."""
    rng = np.random.default_rng(seed)
    time = np.arange(16_000) / 32_000
    sounds = []
    for index in range(count):
        notes, parts = [], []
        for place, pitch in enumerate(rng.integers(48, 73, 4)):
            frequency = 440 * 2 ** ((pitch - 69) / 12)
            wave = sum(np.sin(2 * np.pi * h * frequency * time) / h for h in (1, 2, 3)) * np.exp(-4 * time)
            parts.append(0.2 * wave)
            notes.append((place / 2, place / 2 + 0.45, pitch))
        sounds.append(Sound(f"{kind}-{index}", kind, np.concatenate(parts).astype(np.float32), np.array(notes), 1))
    return sounds


def crops(seed: int = 0) -> TrainingCrops:
    return TrainingCrops(tones("keyboard", 4, 0) + tones("music", 2, 1), {"keyboard": 0.7, "music": 0.3}, seed, 0.2)


def test_crops_depend_on_seed_and_step_alone():
    once, again = crops().batch(7, 5), crops().batch(7, 5)
    assert once.shape == (5, 1, 6400) and once.dtype == np.float32
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, crops().batch(8, 5)) and not np.array_equal(once, crops(1).batch(7, 5))


def test_crops_balance_loudness():
    quiet, loud = tones("strings", 1, 2)[0], tones("drums", 1, 3)[0]
    quiet = Sound("q", "strings", 0.01 * quiet.samples, quiet.notes, 1)
    drawn = TrainingCrops([quiet, loud], {"strings": 1, "drums": 1}, 0, 0.5, gain_db=(0, 0)).batch(0, 64)
    levels = [level_of(crop[0]) for crop in drawn]
    assert max(levels) < 5 * min(levels)


def test_no_sound_is_one_clear_line():
    with pytest.raises(UserError, match="no sound"):
        TrainingCrops([], {"music": 1.0}, 0)


def test_training_reduces_the_loss_before_and_after_quantisation():
    trainer = Trainer(Recipe(steps=80, free_steps=40, **SMALL), crops())
    seen = [trainer.advance() for _ in range(80)]

    def mean(name: str, start: int, stop: int) -> float:
        return float(np.mean([losses[name] for losses in seen[start:stop]]))

    assert mean("log", 35, 40) < 0.8 * mean("log", 0, 5)
    assert mean("waveform", 35, 40) < 0.95 * mean("waveform", 0, 5)
    # Quantisation costs something, and training goes on through it.
    assert mean("log", 70, 80) < 0.8 * mean("log", 0, 5)
    assert "commitment" in seen[-1] and "commitment" not in seen[0]


def test_stopped_run_goes_on_exactly(tmp_path):
    recipe = Recipe(steps=24, free_steps=10, checkpoint_every=6, **SMALL)
    whole = Trainer(recipe, crops())
    train(whole, str(tmp_path / "whole"))
    stopped = Trainer(recipe, crops())
    for _ in range(8):  # past the first checkpoint's place, before k-means
        stopped.advance()
        if stopped.step == 6:
            (tmp_path / "cut").mkdir()
            stopped.save(str(tmp_path / "cut"))
    resumed = Trainer(recipe, crops())
    train(resumed, str(tmp_path / "cut"))
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, rtol=0, atol=0)
    torch.testing.assert_close(resumed.codebooks.entries, whole.codebooks.entries, rtol=0, atol=0)
    with pytest.raises(UserError, match="learning_rate"):
        Trainer(Recipe(steps=24, free_steps=10, learning_rate=1e-3, **SMALL), crops()).resume(str(tmp_path / "cut"))


def test_a_run_starts_with_the_network_of_another(tmp_path):
    first = Trainer(Recipe(steps=24, free_steps=10, **SMALL | {"content": 0}), crops())
    first.advance()
    first.save(str(tmp_path))
    second = Trainer(Recipe(steps=24, free_steps=10, **SMALL), crops())
    start_from(second, str(tmp_path))
    assert second.step == 0
    for name, value in first.network.state_dict().items():
        torch.testing.assert_close(second.network.state_dict()[name], value, rtol=0, atol=0)
    with pytest.raises(UserError, match="--filters 4, not 6"):
        start_from(Trainer(Recipe(**SMALL | {"filters": 6}), crops()), str(tmp_path))
    with pytest.raises(UserError, match="nothing to start from"):
        start_from(second, str(tmp_path / "none"))


def test_finishing_leaves_the_codes_and_brings_the_onsets_nearer(tmp_path):
    first = Trainer(Recipe(steps=60, free_steps=30, **SMALL), crops())
    for _ in range(60):
        first.advance()
    first.save(str(tmp_path))
    finisher = Finisher(Recipe(steps=60, **SMALL, **FINISHING), crops())
    start_from(finisher, str(tmp_path))
    sound = torch.from_numpy(crops().batch(99, 4))
    codes = finisher.codebooks.encode(finisher.network.encode(sound))
    torch.testing.assert_close(codes, first.codebooks.encode(first.network.encode(sound)), rtol=0, atol=0)
    losses = [finisher.advance()["onset"] for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.92 * np.mean(losses[:10])
    torch.testing.assert_close(finisher.codebooks.encode(finisher.network.encode(sound)), codes, rtol=0, atol=0)
    changed = {
        name.split(".")[0]
        for name, value in first.network.state_dict().items()
        if not torch.equal(value, finisher.network.state_dict()[name])
    }
    assert changed == {"decoder"}
    with pytest.raises(UserError, match="--entries 16, not 8"):
        start_from(Finisher(Recipe(steps=60, **SMALL | {"entries": 8}, **FINISHING), crops()), str(tmp_path))


def test_written_codec_is_what_was_trained(tmp_path):
    trainer = Trainer(Recipe(steps=30, free_steps=10, **SMALL), crops())
    for _ in range(30):
        trainer.advance()
    write_codec(trainer.network, trainer.codebooks.entries, str(tmp_path))
    model, report = EncodecModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    sound = torch.from_numpy(crops().batch(99, 4))
    with torch.no_grad():
        codes = model.encode(sound, bandwidth=model.config.target_bandwidths[-1]).audio_codes[0]
        expected = trainer.codebooks.encode(trainer.network.encode(sound)).transpose(0, 1)
        made = model.decode(codes[None], [None]).audio_values
        latents = sum(trainer.codebooks.entries[level][codes[:, level]] for level in range(2)).transpose(1, 2)
        true = trainer.network.decode(latents)
    assert codes.shape == expected.shape == (4, 2, 10)
    assert (codes == expected).float().mean() > 0.95  # float16 moves a few
    torch.testing.assert_close(made, true, atol=0.02 * float(true.abs().max()), rtol=0)


def test_network_is_transformers_own():
    torch.manual_seed(0)
    network = Network(tiny_config(filters=4, hidden=16))
    sound = LEVEL * torch.randn(2, 1, 640 * 9)
    latents = sound / LEVEL
    for layer in network.encoder.values():
        latents = layer(latents)
    torch.testing.assert_close(network.encode(sound), latents, rtol=1e-4, atol=1e-5)
    made = latents
    for layer in network.decoder.values():
        made = layer(made)
    torch.testing.assert_close(network.decode(latents), made * LEVEL, rtol=1e-4, atol=1e-5)


def test_losses_are_zero_for_the_same_and_relative():
    generator = torch.Generator().manual_seed(0)
    true = 0.1 * torch.randn(2, 6400, generator=generator)
    spectral = SpectralLoss()
    assert all(value.item() == 0 for value in spectral(true, true).values())
    other = 0.1 * torch.randn(2, 6400, generator=generator)
    assert spectral(other, true)["log"] < spectral(0.01 * other, true)["log"]
    torch.testing.assert_close(waveform_loss(torch.zeros_like(true), true).item(), 1.0, rtol=0.02, atol=0)
    torch.testing.assert_close(
        waveform_loss(0.3 * true, true).item(), waveform_loss(3 * true, 10 * true).item(), rtol=0.02, atol=0
    )


def test_flux_is_of_steps_not_of_levels():
    generator = torch.Generator().manual_seed(0)
    true = 0.1 * torch.randn(2, 6400, generator=generator)
    louder, stepped = 2 * true, true * torch.where(torch.arange(6400) < 3200, 1.0, 2.0)
    losses = {name: SpectralLoss()(made, true) for name, made in (("louder", louder), ("stepped", stepped))}
    assert losses["louder"]["log"] > losses["stepped"]["log"]
    assert losses["louder"]["flux"] < 0.5 * losses["stepped"]["flux"]


def test_onsets_are_heard_as_the_picker_hears_them():
    """At half its hop, over two steps, from the sound at its own rate."""
    sound = torch.from_numpy(tones("keyboard", 1, 4)[0].samples)[None, :]
    loss = OnsetLoss()
    rises = loss._rises(loss._power(sound), loss._power(sound).amax() * 1e-8).mean(1)[0].numpy()
    resampled = soxr.resample(sound[0].numpy(), 32_000, 22_050, quality="HQ")
    bands = mel_bands(22_050, 2048, 128, 0.0, 11_025.0, equal_area=True)
    decibels = 10 * np.log10((np.abs(np.concatenate(list(spectra(resampled, 2048, 256)))) ** 2) @ bands.T + 1e-10)
    decibels = np.maximum(decibels, decibels.max() - 80)
    rising = np.maximum(0, decibels[2:] - decibels[:-2]).mean(axis=1)
    strength = np.pad(rising, (2 + 2048 // 512, 0))  # where the picker has them: half a window late
    peaks = [(float(rises[place - 6 : place + 6].max()), float(strength[place - 4 : place + 8].max()))
             for place in (43, 86, 129)]  # fmt: skip
    np.testing.assert_allclose(*zip(*peaks, strict=True), rtol=0.1)


def test_a_quiet_band_that_does_not_fall_costs_onsets():
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(40_960) / 32_000
    tone = 0.2 * torch.sin(2 * torch.pi * 440 * time) * torch.exp(-6 * (time % 0.64))
    hiss = 1e-3 * torch.randn(40_960, generator=generator)
    true, hissing, level = (sound[None] for sound in (tone, tone + hiss, 0.7 * tone))
    loss = OnsetLoss()
    assert loss(true, true) == 0
    assert loss(level, true) < 0.2 * loss(hissing, true)
    assert waveform_loss(hissing, true) < 0.1 * waveform_loss(level, true)


def test_balancer_gives_each_loss_its_share():
    balancer = Balancer(size=1.0)
    for _ in range(5):
        made = torch.zeros(4, requires_grad=True)
        losses = {"small": 1e-6 * made[0], "large": 1e6 * made[1]}
        gradient = balancer.gradient(losses, {"small": 3.0, "large": 1.0}, made)
    torch.testing.assert_close(gradient, torch.tensor([0.75, 0.25, 0.0, 0.0]))
    made = torch.zeros(1, requires_grad=True)
    assert balancer.gradient({"small": made[0]}, {"small": 1.0, "absent": 0.0}, made).shape == (1,)
