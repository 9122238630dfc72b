"""The training loop.

A stage without quantisation lets the autoencoder find its feet; then k-means lays the codebooks on the latents of the
batches just seen, and the rest is trained through them. Everything is seeded, and a stopped run goes on from its last
checkpoint with the very steps it would have done.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from data_prep.codec.codebooks import Codebooks
from data_prep.codec.content import Content
from data_prep.codec.initialise import scale_by_data
from data_prep.codec.losses import Balancer, OnsetLoss, SpectralLoss, waveform_loss
from data_prep.codec.network import Network, tiny_config
from data_prep.codec.sound import TrainingCrops
from mvgen.errors import UserError
from mvgen.files import whole_file

CHECKPOINT = "training.pt"


@dataclass(frozen=True)
class Recipe:
    """How long and with what weights.

    Attributes:
        steps: in all; ``free_steps`` of them, the first, are not quantised.
        kmeans_batches: how many batches before that point give the latents that codebooks are laid on.
        batch: crops a step.
        learning_rate: of AdamW (betas 0.8, 0.99), after ``warm_up`` steps; falls by a cosine to ``last_rate`` of it.
        waveform, convergence, log, flux, onset: shares of the gradient on the sound
            (:class:`~data_prep.codec.losses.Balancer`).
        settled, settled_waveform, settled_log: from that step on, the shares change to these. By then the waveform has
            been found and holds; what is left is noise in quiet bands, which the logarithmic term sees.
        commitment, use, spread: weights of what is asked of the latents; ``spread`` holds every channel near zero mean
            and unit variance, without which the latents drift away before the codebooks are laid, and a few outliers
            then rule the commitment.
        content, content_share: how many channels of the latents the first codebook looks at, and how strongly what they
            are to tell (:mod:`data_prep.codec.content`) pulls at them: its gradient there has this share of the norm of
            the sound's gradient on the sound; 0 channels: it looks at all, and nothing is asked of it.
    """

    steps: int = 4000
    free_steps: int = 500
    kmeans_batches: int = 100
    batch: int = 8
    learning_rate: float = 2e-3
    last_rate: float = 0.01
    warm_up: int = 50
    commitment: float = 0.25
    use: float = 0.1
    waveform: float = 3.0
    convergence: float = 1.0
    log: float = 1.0
    flux: float = 0.0
    onset: float = 0.0
    settled: int = 1000
    settled_waveform: float = 1.0
    settled_log: float = 2.0
    spread: float = 1.0
    content: int = 24
    content_share: float = 0.2
    filters: int = 8
    hidden: int = 64
    codebooks: int = 4
    entries: int = 512
    seed: int = 0
    checkpoint_every: int = 250

    def shares_at(self, step: int) -> dict[str, float]:
        """Shares of the losses on the sound at a step."""
        waveform, log = (self.waveform, self.log) if step < self.settled else (self.settled_waveform, self.settled_log)
        rest = {"convergence": self.convergence, "flux": self.flux, "onset": self.onset}
        return {"waveform": waveform, "log": log} | rest

    def rate_at(self, step: int) -> float:
        """Learning rate at a step."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.learning_rate * (self.last_rate + (1 - self.last_rate) * cosine)


FINISHING: dict[str, Any] = {
    "free_steps": 0, "settled": 0, "settled_waveform": 0.0, "convergence": 0.1, "settled_log": 0.2, "flux": 0.0,
    "onset": 4.0,
}  # fmt: skip
"""What a :class:`Recipe` is for a :class:`Finisher`: onsets as they are heard before all else, of the rest enough that
pitch and timbre stay."""


class Trainer:
    """Network, codebooks and optimizer at a step."""

    def __init__(self, recipe: Recipe, crops: TrainingCrops):
        self.recipe, self.crops = recipe, crops
        torch.manual_seed(recipe.seed)
        config = tiny_config(recipe.filters, recipe.hidden, recipe.codebooks, recipe.entries)
        self.network = Network(config)
        self.codebooks = Codebooks(recipe.codebooks, recipe.entries, recipe.hidden, content=recipe.content)
        self.content = Content(recipe.content) if recipe.content else None
        self.spectral, self.onset = SpectralLoss(), OnsetLoss()
        self.balancer = Balancer()
        self.pull = Balancer(self.balancer.size * recipe.content_share)
        scale_by_data(self.network, self._sound(0), self._generator(0))
        if self.content:
            self.content.start_at(torch.cat([self._sound(step)[:, 0] for step in range(8)]))
        parts = nn.ModuleList([self.network] + ([self.content] if self.content else []))
        self.optimizer = torch.optim.AdamW(
            parts.parameters(), lr=recipe.learning_rate, betas=(0.8, 0.99), weight_decay=0.0
        )
        self.step = 0
        self.recent: list[Tensor] = []  # latents of the last batches before k-means, each [B * T, D]

    def _sound(self, step: int) -> Tensor:
        return torch.from_numpy(self.crops.batch(step, self.recipe.batch))

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step)

    def advance(self) -> dict[str, float]:
        """One step; the losses it saw."""
        recipe, step = self.recipe, self.step
        if step == recipe.free_steps:
            latents = torch.cat(self.recent)
            self.codebooks.lay(latents, len(self.recent[-1]), self._generator(step))
            self.recent = []
        sound = self._sound(step)
        self.network.train()
        self.codebooks.train()
        latents = self.network.encode(sound)
        losses: dict[str, Tensor] = {}
        if step >= recipe.free_steps:
            quantised = self.codebooks(latents, self._generator(step))
            made = self.network.decode(self._withheld(quantised.latents))
            losses["commitment"], losses["use"] = quantised.commitment, quantised.use
        else:
            if step >= recipe.free_steps - recipe.kmeans_batches:
                self.recent.append(latents.detach().transpose(1, 2).reshape(-1, latents.shape[1]))
            made = self.network.decode(self._withheld(latents))
        deviation, mean = torch.std_mean(latents, dim=(0, 2))
        losses["spread"] = mean.square().mean() + (deviation - 1).square().mean()
        regularity = torch.stack([getattr(recipe, name) * loss for name, loss in losses.items()]).sum()
        on_sound, gradient = self._compare(made, sound)
        ends: list[Tensor] = [made, regularity]
        gradients: list[Tensor | None] = [gradient, None]
        if self.content:
            # By itself it would pull some hundred times as hard as the sound, whose waveform would never be found.
            telling = latents[:, : recipe.content]
            told = telling.detach().requires_grad_()
            losses["content"] = self.content(told, sound[:, 0])
            ends += [telling, losses["content"]]
            gradients += [self.pull.gradient({"content": losses["content"]}, {"content": 1.0}, told), None]
        self._update(ends, gradients)
        return {name: float(loss.detach()) for name, loss in (on_sound | losses).items()}

    def _compare(self, made: Tensor, sound: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of a made sound, both ``[B, 1, n]``, and their balanced gradient at it."""
        shares = self.recipe.shares_at(self.step)
        heard = made.detach().requires_grad_()
        losses = self.spectral(heard[:, 0], sound[:, 0]) | {"waveform": waveform_loss(heard[:, 0], sound[:, 0])}
        if shares["onset"] > 0:
            losses["onset"] = self.onset(heard[:, 0], sound[:, 0])
        return losses, self.balancer.gradient(losses, shares, heard)

    def _update(self, ends: list[Tensor], gradients: list[Tensor | None]) -> None:
        """One step of the optimizer by what flows back from ``ends``."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(ends, gradients)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if torch.isfinite(norm):  # one bad batch must not end the run
            self.optimizer.step()
        self.step += 1

    def _withheld(self, latents: Tensor) -> Tensor:
        """The same latents ``[B, D, T]``; what the sound asks for does not reach the channels that tell the content."""
        content = self.recipe.content
        return torch.cat([latents[:, :content].detach(), latents[:, content:]], dim=1)

    def save(self, folder: str) -> None:
        """Writes the checkpoint, whole or not at all."""
        path = os.path.join(folder, CHECKPOINT)
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "network": self.network.state_dict(),
            "codebooks": self.codebooks.state_dict(),
            "content": self.content.state_dict() if self.content else {},
            "optimizer": self.optimizer.state_dict(),
            "recent": self.recent,
            "balancers": [[balancer.norms, balancer.seen] for balancer in (self.balancer, self.pull)],
        }
        with whole_file(path) as partial:
            torch.save(state, partial)

    def resume(self, folder: str) -> bool:
        """Goes on from the folder's checkpoint if there is one; :class:`UserError` if it is another recipe's."""
        path = os.path.join(folder, CHECKPOINT)
        if not os.path.exists(path):
            return False
        state = torch.load(path, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            changed = sorted(k for k, v in asdict(self.recipe).items() if state["recipe"].get(k) != v)
            raise UserError(f"{path} was made with other settings ({', '.join(changed)}); give another --work folder")
        self.step, self.recent = state["step"], state["recent"]
        for balancer, (norms, seen) in zip((self.balancer, self.pull), state["balancers"], strict=True):
            balancer.norms, balancer.seen = norms, seen
        self.network.load_state_dict(state["network"])
        self.codebooks.load_state_dict(state["codebooks"])
        if self.content:
            self.content.load_state_dict(state["content"])
        self.optimizer.load_state_dict(state["optimizer"])
        return True


class Finisher(Trainer):
    """Trains the decoder alone, on codes that stay as another run's encoder and codebooks make them.

    Tokens, and what was learned from them, stay good, while the sound made of them may turn to what is heard
    rather than to the waveform, which the encoder could not have been trained without.
    """

    def advance(self) -> dict[str, float]:
        """One step; the losses it saw."""
        sound = self._sound(self.step)
        with torch.no_grad():
            latents = self.codebooks.decode(self.codebooks.encode(self.network.encode(sound)))
        made = self.network.decode(latents)
        losses, gradient = self._compare(made, sound)
        self._update([made], [gradient])
        return {name: float(loss.detach()) for name, loss in losses.items()}


def start_from(trainer: Trainer, work: str) -> None:
    """Gives a trainer at its first step the network that another run, whose checkpoint is in ``work``, ended with; to
    a :class:`Finisher` its codebooks too.

    The optimizer and what tells the content are not taken over.

    Raises:
        UserError: no checkpoint there, or a network of another shape.
    """
    path = os.path.join(work, CHECKPOINT)
    if not os.path.exists(path):
        raise UserError(f"nothing to start from: there is no {path} (give the --work folder of another codec-train)")
    state = torch.load(path, weights_only=True)
    codes = ("codebooks", "entries") if isinstance(trainer, Finisher) else ()
    for size in ("filters", "hidden", *codes):
        if state["recipe"][size] != getattr(trainer.recipe, size):
            raise UserError(f"{path} is of a network with --{size} {state['recipe'][size]}, not "
                            f"{getattr(trainer.recipe, size)}")  # fmt: skip
    trainer.network.load_state_dict(state["network"])
    if codes:
        trainer.codebooks.load_state_dict(state["codebooks"])


def train(trainer: Trainer, work: str, start: str = "") -> None:
    """Runs to the recipe's last step with a progress bar, a checkpoint in ``work`` now and then.

    Where ``work`` holds none yet, the run begins with what the one in ``start`` ended with (:func:`start_from`).
    """
    if not trainer.resume(work) and start:
        start_from(trainer, start)
    os.makedirs(work, exist_ok=True)
    recipe = trainer.recipe
    smooth: dict[str, float] = {}
    with tqdm(total=recipe.steps, initial=trainer.step, desc="training codec", unit="step", mininterval=2) as bar:
        while trainer.step < recipe.steps:
            for name, loss in trainer.advance().items():
                smooth[name] = loss if name not in smooth else smooth[name] + 0.02 * (loss - smooth[name])
            if trainer.step % 50 == 0:
                bar.set_postfix({name: f"{loss:.3f}" for name, loss in smooth.items()}, refresh=False)
            bar.update()
            if trainer.step % recipe.checkpoint_every == 0 or trainer.step == recipe.steps:
                trainer.save(work)
