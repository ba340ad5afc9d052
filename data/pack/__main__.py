"""Write a profile's pictures as one small file: ``python data/pack PROFILE FILE.zip``.

``python -m zipfile -e FILE.zip FOLDER`` unpacks it to a folder for MODNET_DATA, for a machine that downloads nothing.
"""

import argparse
from pathlib import Path

from modnet_lib.profiles import Profile
from pack_pictures import pack


def main(arguments: list[str] | None = None) -> None:
    """Write the file that the arguments name."""
    command = argparse.ArgumentParser("python data/pack", description=__doc__)
    command.add_argument("profile", metavar="PROFILE", help="name of a profile, or a YAML file")
    command.add_argument("output", type=Path, metavar="FILE.zip", help="the file to write")
    command.add_argument("--size", type=float, default=24, help="largest size of the file, MiB (%(default)s)")
    given = command.parse_args(arguments)
    try:
        index = pack(Profile.load(given.profile), given.output, given.size)
    except (ValueError, OSError) as error:
        command.error(str(error))
    for name, part in index["sets"].items():
        left_out = (f"\n  left out: {key}: {reason}" for key, reason in part["left out"].items())
        print(f"{name}: {len(part['ids']):,} pictures{''.join(left_out)}")
    print(f"{given.output}: {given.output.stat().st_size / 2**20:.1f} MiB, WebP of quality {index['quality']}")


if __name__ == "__main__":
    main()
