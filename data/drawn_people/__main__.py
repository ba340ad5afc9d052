"""Draw people with exact mattes, and benchmarks of them: ``python data/drawn_people COMMAND ... OUT``.

What is already in OUT is kept, so an interrupted call continues.
"""

import argparse
from pathlib import Path

from drawn_camera import write_passing_car
from drawn_set import SPLITS, write_portraits, write_scenes
from drawn_spm import write_spm100, write_spm_shift, write_spm_video


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser("python data/drawn_people", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, what: str, write, size: int) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=what, description=what)
        command.set_defaults(write=write)
        if write in (write_portraits, write_scenes):
            command.add_argument("count", type=int, help="how many")
        command.add_argument("folder", type=Path, metavar="OUT", help="where to")
        command.add_argument("--size", type=int, default=size, help="side, pixels (%(default)s)")
        return command

    people = add("portraits", "people to train on, with colours, mattes and backgrounds", write_portraits, 512)
    people.add_argument("--split", choices=SPLITS, default="train", help="(%(default)s)")
    add("scenes", "backgrounds to train on", write_scenes, 512)
    for name, what, write in (
        ("spm100", "SPM-100: people with exact mattes, balanced over PPM-100's three factors", write_spm100),
        ("spm_shift", "SPM-shift: the people of SPM-100 through another camera", write_spm_shift),
    ):
        add(name, what, write, 1024).add_argument("--count", type=int, default=100, help="(%(default)s)")
    video = add("spm_video", "SPM-video: clips with a matte for every frame", write_spm_video, 512)
    video.add_argument("--clips", type=int, default=8, help="(%(default)s)")
    video.add_argument("--frames", type=int, default=48, help="of a clip (%(default)s)")
    car = add("passing_car", "Fig. 9: a camera that stands still, and a car that drives by", write_passing_car, 512)
    car.add_argument("--frames", type=int, default=24, help="of a clip (%(default)s)")
    return top


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    command = parser()
    options = vars(command.parse_args(arguments))
    write = options.pop("write")
    try:
        write(**options)
    except ValueError as error:
        command.error(str(error))


if __name__ == "__main__":
    main()
