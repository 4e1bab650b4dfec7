"""Makes the rows of configs/metric_learning_omniglot.config from Omniglot's zip files of PNG images.

    .venv/bin/python configs/omniglot_rows.py --images DIR --out data/omniglot

DIR holds zip files of https://github.com/brendenlake/omniglot, with images as
SET/ALPHABET/characterNN/FILE.png. A row is the character's name and 28 x 28 shades of ink, 0 to 255,
with | between. The alphabets that make up about a quarter of the characters go into eval.csv, all
others into train.csv: no character of the one is in the other.
"""

from __future__ import annotations

import argparse
import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

SIDE = 28


def images(folder: pathlib.Path) -> Iterator[tuple[str, str, bytes]]:
    """Alphabet, character and PNG bytes of every image, once if several files contain it."""
    seen = set()
    archives = sorted(folder.glob("*.zip"))
    if not archives:
        raise SystemExit(f"no zip file in {folder}")
    for archive in archives:
        with zipfile.ZipFile(archive) as files:
            for name in sorted(files.namelist()):
                place = tuple(name.split("/")[1:])
                if name.endswith(".png") and place not in seen:
                    seen.add(place)
                    alphabet, character, _ = place
                    yield alphabet, character, files.read(name)


def shades(png: bytes) -> np.ndarray:
    """The darkness of each of 28 x 28 equal areas, 0 to 255."""
    paper = tf.cast(tf.io.decode_png(png, channels=1), tf.float32)
    ink = 1.0 - paper / tf.reduce_max(paper)
    areas = tf.image.resize(ink, [SIDE, SIDE], method="area")
    return np.rint(255.0 * areas.numpy()).astype(np.int64).reshape(-1)


def main() -> None:
    """Writes train.csv and eval.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    rows: dict[str, list[str]] = {}
    characters: dict[str, set[str]] = {}
    for alphabet, character, png in images(arguments.images):
        row = f"{alphabet}/{character}," + "|".join(map(str, shades(png)))
        rows.setdefault(alphabet, []).append(row)
        characters.setdefault(alphabet, set()).add(character)
    held, wanted = set(), sum(map(len, characters.values())) / 4
    for alphabet in sorted(characters):
        if sum(len(characters[name]) for name in held) < wanted:
            held.add(alphabet)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for file, names in (("train.csv", rows.keys() - held), ("eval.csv", held)):
        lines = [row for name in sorted(names) for row in rows[name]]
        (arguments.out / file).write_text("\n".join(lines) + "\n")
        count = sum(len(characters[name]) for name in names)
        print(f"{arguments.out / file}: {len(lines)} rows of {count} characters, {', '.join(sorted(names))}")


if __name__ == "__main__":
    main()
