"""What the first codebook is to tell: no phase, but pitch and loudness; and that nothing else moves it."""

from __future__ import annotations

import numpy as np
import torch

from data_prep.codec.codebooks import Codebooks
from data_prep.codec.content import LOUDNESS, SEMITONES, SHAPE, Content
from data_prep.codec.train import Recipe, Trainer
from tests.data_prep.codec.test_train import SMALL, crops


def note(pitch: float, phase: float = 0.0, size: float = 0.2, tokens: int = 10) -> torch.Tensor:
    time = torch.arange(640 * tokens) / 32_000
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    return size * torch.stack([torch.sin(2 * np.pi * h * frequency * time + h * phase) / h for h in (1, 2, 3)]).sum(0)


def test_phase_is_not_described_and_pitch_is():
    content = Content(8)
    sounds = torch.stack([note(60), note(60, 1.0), note(60, 2.5), note(61), note(72)])
    described = content.describe(sounds)[:, 3:-3]
    assert described.shape == (5, 4, 76)
    shapes = described[..., :SEMITONES].mean(1)
    torch.testing.assert_close(shapes.norm(dim=1), torch.full((5,), SHAPE), rtol=0.02, atol=0)
    distance = torch.cdist(shapes, shapes)
    assert distance[0, 1:3].max() < 0.1 * distance[0, 3:].min()
    assert int(shapes[0].argmax()) == 60 - 40 and int(shapes[4].argmax()) == 72 - 40


def test_loudness_is_described_in_its_band_and_token():
    content = Content(8)
    sound = torch.cat([note(60, size=1e-6, tokens=5), note(60, size=0.1, tokens=3), note(60, size=0.2, tokens=4)])
    loudness = content.describe(sound[None])[0, :, SEMITONES:] / LOUDNESS
    assert loudness[6, 0] - loudness[4, 0] > 2  # 262 Hz is in the lowest band; the token before the attack is silent
    torch.testing.assert_close(loudness[9, 0] - loudness[6, 0], torch.tensor(2.0).log(), atol=0.05, rtol=0)
    assert loudness[9].argmax() == 0


def test_channels_that_hold_it_miss_nothing():
    content = Content(76)
    sound = torch.stack([torch.cat([note(p, tokens=4), note(p + 5, tokens=4)]) for p in (50, 57, 66, 70)])
    torch.nn.init.eye_(content.told.weight)
    torch.nn.init.zeros_(content.told.bias)
    true = content.describe(sound)
    assert content(true.transpose(1, 2), sound) < 1e-6
    mean = true[:, 2:-2].mean((0, 1)).expand_as(true)
    torch.testing.assert_close(content(mean.transpose(1, 2), sound), torch.tensor(1.0))


def test_first_codebook_looks_at_its_channels_alone():
    books = Codebooks(3, 32, 8, 0.9, content=3)
    points = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    books.lay(points, points_a_batch=100, generator=torch.Generator().manual_seed(0))
    latents = points[:1000].T.reshape(8, 4, 250).transpose(0, 1).contiguous()
    for seed in range(5):
        codes = books(latents, torch.Generator().manual_seed(seed)).codes
    assert not books.entries[0, :, 3:].any() and books.entries[1, :, 3:].any()
    assert len(torch.unique(codes[0])) > 20
    books.eval()
    changed = latents.clone()
    changed[:, 3:] += 5
    before, after = books(latents).codes, books(changed).codes
    assert torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])
    assert torch.equal(books.encode(latents), before)  # as EnCodec finds them, by all channels


def test_training_teaches_content_and_the_sound_does_not_move_it():
    trainer = Trainer(Recipe(steps=160, free_steps=40, content_share=2.0, **SMALL), crops())
    seen = [trainer.advance()["content"] for _ in range(160)]
    assert np.mean(seen[-20:]) < 0.9 * np.mean(seen[:20])
    assert not trainer.codebooks.entries[0, :, 4:].any()
    latents = torch.randn(2, 16, 10, requires_grad=True)
    trainer.network.decode(trainer._withheld(latents)).square().sum().backward()
    assert latents.grad is not None and not latents.grad[:, :4].any() and latents.grad[:, 4:].any()
