"""Label photographs with a strong network: ``python data/teacher NET.onnx NAME``.

NAME is a data set, whose mattes go to ``$MODNET_DATA/teacher/NAME``, or a folder with photographs in ``image/``, whose
mattes go to ``alpha/`` beside it. A mask of the photograph, or else the shipped model, is the second opinion. An
interrupted call continues.
"""

import argparse
from pathlib import Path

from modnet_lib.inference import Matter
from teacher_labels import ACTIVATIONS, Teacher, label_photographs, places_for


def parser() -> argparse.ArgumentParser:
    """The arguments and options."""
    given = argparse.ArgumentParser("python data/teacher", description=__doc__)
    given.add_argument("network", type=Path, metavar="NET.onnx", help="the teacher")
    given.add_argument("name", metavar="NAME", help="a data set of `modnet data list`, or a folder")
    given.add_argument("--root", type=Path, help="the data set's folder, if it is not in $MODNET_DATA")
    given.add_argument("--split", help="of the data set; the first if not set")
    given.add_argument("--size", type=int, help="side of the teacher's input, if it leaves that open")
    given.add_argument("--mean", type=float, default=0.5, help="subtracted from RGB in [0, 1] (%(default)s)")
    given.add_argument("--std", type=float, default=0.5, help="RGB is then divided by this (%(default)s)")
    given.add_argument("--activation", choices=ACTIVATIONS, default="none", help="of its output (%(default)s)")
    given.add_argument("--agreement", type=float, default=0.86, help="smallest IoU of both opinions (%(default)s)")
    return given


def main(arguments: list[str] | None = None) -> None:
    """Label what the arguments name."""
    command = parser()
    given = command.parse_args(arguments)
    try:
        teacher = Teacher(given.network, given.size, given.mean, given.std, given.activation)
        items, places = places_for(given.name, given.root, given.split)
        labels = label_photographs(items, teacher, places, Matter.from_pretrained().alpha, given.agreement)
    except (ValueError, OSError) as error:
        command.error(str(error))
    dropped = sorted((label.id, label.reason) for label in labels if label.reason)
    print(*(f"{key}: {reason}" for key, reason in dropped), sep="\n")
    print(f"{len(labels) - len(dropped):,} mattes in {places[0]}; {len(dropped):,} dropped, see {places[1]}")


if __name__ == "__main__":
    main()
