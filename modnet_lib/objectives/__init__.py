"""What training minimises."""

from modnet_lib.objectives.supervised import OBJECTIVES, Losses, paper_objective

__all__ = ["OBJECTIVES", "Losses", "paper_objective"]
