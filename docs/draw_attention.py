"""Draws docs/attention.png: what attention looks at over time, for one held-out clip of each instrument.

    python docs/draw_attention.py --checkpoint DIR --records DIR [--out docs/attention.png]

Above: what each frame (down) takes of each token (across) where both modalities meet; below: what each token (down)
takes of each frame (across) in the token decoder. Prints the share of the weight within 0.1 s of the same moment,
beside what it would be if attention were even over all that it may see.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from mvgen.data.loader import window_frames
from mvgen.data.records import Record, RecordSource
from mvgen.models.attention_maps import compute_maps, on_diagonal, picture
from mvgen.models.mvgen import MVGen
from mvgen.training.checkpoint import load_model

SIDE, GAP = 240, 12  # pixels
INSTRUMENTS = ("strings", "drums", "keyboard")


def window(record: Record, frames: int, model: MVGen) -> dict[str, np.ndarray]:
    """The first frames of a record as a batch of one."""
    batch = {"frames": record["frames"][None, :frames], "tokens": record["tokens"][None, : 2 * frames]}
    return batch | ({"flow": record["flow"][None, :frames]} if model.config.sees_flow else {})


def main() -> None:
    """Reads, draws, prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", required=True, metavar="DIR")
    parser.add_argument("--records", required=True, metavar="DIR", help="Recital's, with a split test")
    parser.add_argument("--out", default="docs/attention.png", metavar="FILE", help="(%(default)s)")
    arguments = parser.parse_args()
    model, config, _ = load_model(arguments.checkpoint)
    frames = window_frames(config.data.window_seconds)
    records = RecordSource(arguments.records, "test")
    canvas = np.full((2 * SIDE + GAP, len(INSTRUMENTS) * (SIDE + GAP) - GAP, 3), 255, np.uint8)
    for column, instrument in enumerate(INSTRUMENTS):
        record = next(record for record in map(records.__getitem__, range(len(records)))
                      if record["clip_id"].startswith(instrument))  # fmt: skip
        maps = compute_maps(model, window(record, frames, model))
        for row, name in enumerate(("fusion", "decoder")):
            share, even = on_diagonal(maps[name])
            print(f"{record['clip_id']}, {name}: {share:.2f} within 0.1 s (even: {even:.2f})")
            top, left = row * (SIDE + GAP), column * (SIDE + GAP)
            drawn = cv2.resize(picture(maps[name]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            canvas[top : top + SIDE, left : left + SIDE] = drawn
    cv2.imwrite(arguments.out, canvas[:, :, ::-1])


if __name__ == "__main__":
    main()
