"""One HTML page that shows a run: what it made, how it scores, how it learned. Opens with no network."""

from mvgen.evaluation.report.evaluation import write_evaluation
from mvgen.evaluation.report.examples import Example, Film, choose_examples
from mvgen.evaluation.report.page import Fact, write_report
from mvgen.evaluation.report.scores import Direction

__all__ = ["Direction", "Example", "Fact", "Film", "choose_examples", "write_evaluation", "write_report"]
