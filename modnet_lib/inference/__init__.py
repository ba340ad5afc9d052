"""From a picture to its matte."""

from modnet_lib.inference.matter import Matter, Prediction

__all__ = ["Matter", "Prediction"]
