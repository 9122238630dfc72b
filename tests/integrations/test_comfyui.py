"""Tests of the ComfyUI nodes against a stand-in of its interface: their declarations, and that each does its work."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import mvgen
from tests.integrations.stand_in import StandIn

torch = pytest.importorskip("torch")
FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"
TYPES = {"IMAGE", "AUDIO", "STRING", "INT", "FLOAT"}


class Cancelled(Exception):
    """What ComfyUI raises where its user has cancelled."""


@pytest.fixture
def comfy(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """ComfyUI's own modules, as much of them as nodes call: how far the bar is, and whether the work is cancelled."""
    state: dict[str, Any] = {"bar": [], "cancelled": False}

    class ProgressBar:
        def __init__(self, total: int) -> None:
            assert total > 0

        def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
            state["bar"].append((value, total))

    def throw_exception_if_processing_interrupted() -> None:
        if state["cancelled"]:
            raise Cancelled

    modules = {name: ModuleType(name) for name in ("comfy", "comfy.utils", "comfy.model_management")}
    modules["comfy.utils"].ProgressBar = ProgressBar  # type: ignore[attr-defined]
    modules["comfy.model_management"].throw_exception_if_processing_interrupted = (  # type: ignore[attr-defined]
        throw_exception_if_processing_interrupted
    )
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return state


@pytest.fixture(scope="module")
def nodes() -> ModuleType:
    """The folder, imported as ComfyUI imports what lies in ``custom_nodes``."""
    spec = importlib.util.spec_from_file_location("custom_nodes_mvgen", FOLDER / "__init__.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(node: type, **given: Any) -> tuple[Any, ...]:
    """Calls a node as ComfyUI does: what it asks for, defaults where nothing is given."""
    asked = node.INPUT_TYPES()  # type: ignore[attr-defined]
    values = {}
    for name, declared in {**asked["required"], **asked.get("optional", {})}.items():
        values[name] = given.pop(name) if name in given else declared[1]["default"]
    assert not given
    return getattr(node(), node.FUNCTION)(**values)  # type: ignore[attr-defined]


def test_each_node_declares_what_comfyui_asks_of_it(nodes: ModuleType) -> None:
    assert set(nodes.NODE_CLASS_MAPPINGS) == set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
    made = {kind for node in nodes.NODE_CLASS_MAPPINGS.values() for kind in node.RETURN_TYPES}
    for node in nodes.NODE_CLASS_MAPPINGS.values():
        asked = node.INPUT_TYPES()
        declared = {**asked["required"], **asked.get("optional", {})}
        assert {each[0] for each in declared.values()} <= TYPES | made
        assert list(inspect.signature(getattr(node, node.FUNCTION)).parameters)[1:] == list(declared)
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) and node.CATEGORY == "mvgen"
        for _, *options in declared.values():
            assert not options or "min" not in options[0] or options[0]["min"] <= options[0]["default"]


def test_frames_become_music(nodes: ModuleType, comfy: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = StandIn()
    monkeypatch.setattr(mvgen, "load", lambda name: {"a model": model}[name])
    assert run(nodes.NODE_CLASS_MAPPINGS["MVGenLoadModel"], checkpoint="a model") == (model,)
    images = torch.linspace(0.1, 0.9, 30)[:, None, None, None] * torch.ones(30, 32, 48, 3)
    node = nodes.NODE_CLASS_MAPPINGS["MVGenVideoToMusic"]
    (audio,) = run(node, model=model, images=images, frame_rate=50.0, seed=7, temperature=0.5, prompt="slow")
    assert audio["waveform"].shape == (1, 1, 15 * 1280) and audio["sample_rate"] == 32_000
    assert audio["waveform"].dtype == torch.float32 and float(audio["waveform"][0, 0, -1]) == 0.5
    assert (model.asked["seed"], model.asked["prompt"], model.asked["sampling"].temperature) == (7, "slow", 0.5)
    # At 50 frames a second every other one is seen.
    grey = model.seen[0].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(grey, 255 * images[1::2].mean(dim=(1, 2, 3)).numpy(), atol=3)
    assert comfy["bar"] == [(0, 2), (2, 2)]


def test_an_image_and_sound_become_frames(nodes: ModuleType, comfy: dict[str, Any]) -> None:
    model, node = StandIn(), nodes.NODE_CLASS_MAPPINGS["MVGenMusicToVideo"]
    image = torch.rand(3, 32, 48, 3)  # a batch, of which the first is meant
    audio = {"waveform": 0.5 * torch.ones(1, 2, 48_000), "sample_rate": 48_000}
    frames, rate = run(node, model=model, image=image, audio=audio, steps=4, follow=2.0)
    assert frames.shape == (5, 32, 48, 3) and frames.dtype == torch.float32 and rate == 25.0
    assert 0 <= float(frames.min()) and 0.1 < float(frames.max()) < 0.2
    np.testing.assert_allclose(model.seen[0], 255 * image[0].numpy(), atol=1)
    assert abs(float(np.median(model.seen[1])) - 0.5) < 0.01
    assert (model.asked["filming"].steps, model.asked["filming"].sound_guidance) == (4, 2.0)
    comfy["cancelled"] = True
    with pytest.raises(Cancelled):
        run(node, model=model, image=image, audio=audio)
