"""Fig. 6: every method's parameters, FLOPs, memory and latency, side by side. Notebook 06 draws the figure from it.

.venv/bin/python benchmarks/efficiency.py [--size 512] [--batch 1] [--repeats 5] [--output efficiency]
"""

import typer
from _timing import DEVICE, NAME, save, show

from modnet_lib.evaluation.efficiency import METHODS, efficiency


def main(size: int = 512, batch: int = 1, repeats: int = 5, output: str = "efficiency") -> None:
    """Measure all methods and write ``data/results/OUTPUT.json``."""
    methods = efficiency(METHODS, size=size, batch=batch, repeats=repeats, device=DEVICE.type)
    what = f"{NAME}, batch {batch}, {size} x {size}, median of {repeats} rounds"
    save(output, what, {"methods": methods})
    rows = {}
    for name, cost in methods.items():
        rows[name] = {key: cost[key] for key in ("milliseconds", "parameters", "gflops", "megabytes")}
        rows |= {f"  {name}: {part}": one for part, one in cost["parts"].items()}
    show(what, rows)


if __name__ == "__main__":
    typer.run(main)
