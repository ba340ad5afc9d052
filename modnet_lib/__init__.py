"""MODNet (AAAI 2022), trimap-free portrait matting: the library behind the notebooks."""

__version__ = "0.1.0"
