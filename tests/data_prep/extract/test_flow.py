"""RAFT where it loads, and the one line where it does not. (OpenCV's methods: tests/mvgen/media/test_flow.py.)"""

import importlib.util
import sys

import numpy as np
import pytest

from data_prep.extract.flow import RaftFlow, flow_hash, is_raft
from mvgen.errors import UserError


class Shift:
    """Stands in for RAFT's network: pictures in, a dense flow out that each pair names itself by its first pixels."""

    def between(self, before, after):
        return (after[:, 0, 0, :2].astype(np.float16) - before[:, 0, 0, :2])[:, None, None]


def test_the_stream_pairs_frames_and_passes_over_repeats(monkeypatch):
    flow = RaftFlow((1, 1))
    monkeypatch.setattr(RaftFlow, "between", lambda self, before, after: Shift().between(before, after))
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(40):
        pictures += [rng.integers(0, 100, (2, 2, 3)).astype(np.uint8)] * int(rng.integers(1, 4))
    found = list(flow.stream(iter(pictures)))
    assert len(found) == len(pictures) and not found[0].any()
    for number in range(1, len(pictures)):
        wanted = pictures[number][0, 0, :2].astype(float) - pictures[number - 1][0, 0, :2]
        np.testing.assert_array_equal(found[number][0, 0], wanted)
    assert list(flow.stream(iter([]))) == []


def test_methods():
    assert flow_hash("dis") == flow_hash("farneback") == ""
    assert is_raft("raft") and is_raft("raft:x.pth") and not is_raft("raftlike")
    with pytest.raises(UserError, match="flow_method is 'guess'; it can be dis, farneback, raft, raft:FILE"):
        flow_hash("guess")
    with pytest.raises(UserError, match="no such file"):
        flow_hash("raft:missing.pth")


def test_without_torchvision_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UserError, match="needs torchvision, which is not installed"):
        flow_hash("raft")


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_raft_itself(tmp_path):
    """Weights made on the spot: what is tested is loading, padding, batches, the scale and the still first frame."""
    import torch

    from data_prep.extract.flow import _raft

    model = _raft().raft_small(weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "raft.pth")
    flow = RaftFlow((4, 8), f"raft:{tmp_path / 'raft.pth'}")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 130, 140, 3), np.uint8)
    found = flow.between(pictures[:-1], pictures[1:])
    assert found.shape == (2, 4, 8, 2) and np.isfinite(found).all()
    np.testing.assert_allclose(found[1], flow.between(pictures[1:2], pictures[2:])[0], atol=1e-2)
    (tmp_path / "bad.pth").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(UserError, match="does not hold RAFT's weights"):
        RaftFlow((4, 8), f"raft:{tmp_path / 'bad.pth'}").between(pictures[:-1], pictures[1:])
