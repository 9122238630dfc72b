"""The bench of preparation: on clips as small as can be, every stage is there and the sums are right."""

import json

import pytest

from data_prep.__main__ import main
from data_prep.convert.benchmark import LIMIT, decode_alone, make_videos, table
from mvgen.errors import UserError
from mvgen.media import probe

SMALL = ["--config.frame_size=(16, 16)", "--config.flow_size=(8, 8)"]


def test_stages_add_up(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    make_videos(tmp_path / "in", 2, 1.0, 64, 48)
    info = probe(tmp_path / "in" / "0000.mp4")
    assert (info.width, info.height, info.frame_rate, info.sample_rate) == (64, 48, 30, 44_100)
    assert decode_alone(tmp_path / "in" / "0000.mp4") == 30
    assert (tmp_path / "in" / "0000.mp4").read_bytes() != (tmp_path / "in" / "0001.mp4").read_bytes()
    out = tmp_path / "out.json"
    words = ["bench", "--input", str(tmp_path / "in"), "--workers", "1", "--json", str(out), *SMALL]
    assert main(words) == 0
    found = json.loads(out.read_text())
    assert found["clips"] == 2 and found["seconds"] == pytest.approx(2, abs=0.2)
    assert found["sum"] == pytest.approx(sum(found["stages"].values()))
    assert found["limit"] == found["stages"][LIMIT] > 0 and found["standardised_copy"] > 0
    assert found["pool"]["video"] == pytest.approx(2, abs=0.2)
    assert 0 < found["pool"]["busy"] <= found["pool"]["wall"] * 1.01
    assert found["plain"]["wall"] > 0
    assert table(found) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "large"], "--size large: write WIDTHxHEIGHT"),
        (["--clips", "0"], "are 1 at least"),
        (["--runner=x"], "unknown option --runner=x"),
    ],
)
def test_bad_input_is_one_line(words, said):
    with pytest.raises(UserError, match=said):
        main(["bench", *words])
