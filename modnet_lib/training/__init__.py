"""Training: a recipe in, a network out (`run`)."""

from modnet_lib.training.run import run as run
