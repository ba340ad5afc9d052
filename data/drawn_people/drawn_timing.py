"""Portraits a second on one core, and the error of their coverage.

python data/drawn_people/drawn_timing.py [--size 512]

With `--sheet FILE` it draws a contact sheet of sixty people instead.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import cv2
import numpy as np

from drawn_animation import animate
from drawn_portraits import HAIR_KINDS, render_composite, render_portrait


def seconds(seeds: range, size: int, draw) -> float:
    """Median seconds a picture."""
    taken = []
    for seed in seeds:
        start = perf_counter()
        draw(seed, size)
        taken.append(perf_counter() - start)
    return float(np.median(taken))


def coverage(hair: str, crops: int) -> tuple[float, float]:
    """Mean and largest error in 1/255 against 64 samples a pixel and side, on crops of 64 pixels at an edge."""
    rng, errors = np.random.default_rng(0), []
    for seed in range(crops):
        usual = render_portrait(seed, 512, hair=hair).alpha
        ys, xs = np.nonzero((usual > 0.02) & (usual < 0.98))
        k = rng.integers(len(ys))
        x, y = (int(np.clip(v - rng.integers(64), 0, 448)) for v in (xs[k], ys[k]))
        exact = render_portrait(seed, 512, hair=hair, window=(x, y, 64), supersample=64).alpha
        error = 255 * np.abs(exact - usual[y : y + 64, x : x + 64])
        errors.append((error.mean(), error.max()))
    return float(np.mean(errors, 0)[0]), float(np.max(errors, 0)[1])


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--count", type=int, default=40, help="how many pictures to time")
    parser.add_argument("--crops", type=int, default=5, help="crops a kind of hair")
    parser.add_argument("--sheet", help="where to write a contact sheet of sixty people")
    args = parser.parse_args()
    if args.sheet:
        people = [render_composite(seed, 256)[0] for seed in range(60)]
        rows = [np.hstack(people[i : i + 10]) for i in range(0, 60, 10)]
        sheet = cv2.resize(np.vstack(rows), (1600, 960), interpolation=cv2.INTER_AREA)
        cv2.imwrite(args.sheet, sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        return
    cv2.setNumThreads(1)
    seeds = range(args.count)
    render_portrait(0, args.size)
    for name, draw in (("portraits", render_portrait), ("composites", render_composite)):
        taken = seconds(seeds, args.size, draw)
        print(f"{name:12s} {args.size} px: {taken:.3f} s each, {1 / taken:.1f} a second on one core (median)")
    start = perf_counter()
    frames = sum(1 for _ in animate(0, args.size, motion="head_turn", frames=8))
    print(f"animation    {args.size} px: {(perf_counter() - start) / frames:.3f} s a frame with motion")
    for hair in HAIR_KINDS:
        mean, largest = coverage(hair, args.crops)
        print(f"coverage     {hair:13s} mean {mean:.2f}/255, largest {largest:.1f}/255")


if __name__ == "__main__":
    main()
