"""How long a step takes at best: a bound from what the chip can do, not a measurement.

Two bounds, in seconds: *computing*, the model FLOPs (and with rematerialisation a third more, one forward pass) of a
device over its peak; *sending*, the bytes of its collectives over its links. At best the one hides behind the other
(the longer of both); at worst neither does (their sum). Reached in practice is 0.4 to 0.7 of the peak in matrix
products, so the step time is longer than either. Memory traffic is not in it: XLA fuses most of it away, and what is
left cannot be told from the program's text.
"""

from __future__ import annotations

import dataclasses

from mvgen.training.ahead_of_time.compiling import Step

FORWARD_AGAIN = 4 / 3
"""Of a step's products with all layers worked out again: forward once more beside forward and twice backward."""


@dataclasses.dataclass(frozen=True)
class Bound:
    """Seconds of a step, and the model FLOPs utilisation that they would be."""

    computing: float
    sending: float
    best: float
    worst: float
    mfu_best: float
    mfu_worst: float


def bound(step: Step, remat: bool) -> Bound:
    """The bounds of a step."""
    chip = step.topology.chip
    ideal = step.model_flops / (step.topology.count * chip.flops)
    computing = ideal * (FORWARD_AGAIN if remat else 1.0)
    sending = sum(kind.wire / chip.link + kind.network / chip.network for kind in step.moved.values())
    best, worst = max(computing, sending), computing + sending
    return Bound(computing, sending, best, worst, ideal / best, ideal / worst)
