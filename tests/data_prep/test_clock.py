"""The clock through the whole conversion: flash and beep in records, tokens and standardised video."""

import os

import pytest

from tests.data_prep.clocks import CASES, RATES, measure

SECONDS = float(os.environ.get("MVGEN_CLOCK_SECONDS", "3"))
QUICK = (
    "21.5 fps", "variable rate", "sound 0.5 s late (edit list)", "sound 0.5 s early (edit list)",
    "trimmed by an edit list", "sound 1.3 s shorter", "stated length a third, Matroska", "48 kHz AAC 5.1",
    "AVI, H.264 with B-frames", "two sound streams", "cover art first",
)  # fmt: skip
"""What the tests convert by default; with MVGEN_CLOCK_SECONDS=61 they convert a minute of everything, in ten minutes.
(Of what the others add, reading is tested in tests/mvgen/media/test_clock.py.)"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    names = list(CASES) if SECONDS > 10 else list(QUICK)
    return measure(tmp_path_factory.mktemp("clock") / "place", names, SECONDS, workers=2)


def test_every_rate_is_a_case():
    assert {f"{float(rate):.6g} fps" for rate in RATES} <= set(CASES)


def test_every_flash_is_within_half_a_frame_and_every_beep_within_a_token(found):
    for name, one in found.items():
        assert one.flashes >= SECONDS - 2.5, name
        assert max(one.flash, one.standard[0]) <= 20.001, name
        # Sound is exact to the container's own clock (1 ms); what the codec adds stays well within a token.
        assert max(one.heard, one.standard[1]) <= 1.0, name
        assert one.beep <= 10, name


def test_nothing_but_rounding_to_the_nearest_frame_lies_between_flash_and_beep(found):
    for name, one in found.items():
        assert abs(one.offset - one.rounding) < 1.0, name
        if SECONDS > 10:
            assert abs(one.drift) < 1.0, name
