"""``python -m modnet_lib.cli``, for instance under ``torchrun``."""

from modnet_lib.cli import app

if __name__ == "__main__":
    app()
