"""Keeps an exported model up to date with the deltas of a run (`incr_save_config { fs {} }`).

    python examples/apply_deltas.py EXPORT_DIR/VERSION [--deltas FOLDER] [--every SECONDS]

Needs only TensorFlow and numpy. A service in another language does the same: it reads the messages, and calls
the model's signatures `incr_update_dense` and `incr_update_rows`, for example through TensorFlow Serving.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

NAME = re.compile(r"(dense|sparse)_update_(\d+)\.done")


class Follower:
    """Applies the deltas in a folder to a model, each once."""

    def __init__(self, model_dir: Path, folder: Path | None = None) -> None:
        """Loads the model.

        Args:
            model_dir: The folder with ``saved_model.pb``.
            folder: The deltas; by default the one named in the model's assets.
        """
        described = json.loads((model_dir / "assets/incr_update.txt").read_text())
        self.folder = Path(folder or described["fs"]["incr_save_dir"])
        self.step = described["global_step"]
        self.model = tf.saved_model.load(str(model_dir))
        self._dense = [tuple(v["shape"]) for v in described["dense"].values()]
        self._widths = [v["shape"][1] for v in described["tables"].values()]
        self._exported = described["global_step"]
        self._applied: dict[str, str] = {}

    def catch_up(self) -> int:
        """Applies what is new, in the order of the steps; returns how many messages that were."""
        new = []
        for path in self.folder.glob("*.done"):
            if (found := NAME.fullmatch(path.name)) and int(found[2]) > self._exported:
                about = json.loads((self.folder / f"{path.stem}.json").read_text())
                # After a restart of the run, another message may have the name of one that it withdrew.
                if self._applied.get(path.stem) != about["sha256"]:
                    new.append((int(found[2]), path.stem, about["sha256"]))
        for step, name, sha256 in sorted(new):
            message = (self.folder / name).read_bytes()
            if hashlib.sha256(message).hexdigest() != sha256:
                raise OSError(f"{self.folder / name} is damaged")
            self.apply(message)
            self._applied[name], self.step = sha256, step
        return len(new)

    def apply(self, message: bytes) -> None:
        """Applies one message; see "Deltas" in docs/checkpoints.md."""
        kind, count, _ = np.frombuffer(message, np.int32, 3).tolist()
        parts = np.frombuffer(message, np.int32, 2 * count, 12).reshape(-1, 2).tolist()
        place = 12 + 8 * count
        for number, size in parts:
            if kind == 0:
                values = np.frombuffer(message, np.float32, size, place)
                self.model.signatures["incr_update_dense"](id=tf.constant(number), values=tf.constant(values))
                place += values.nbytes
                continue
            keys = np.frombuffer(message, np.int64, size, place)
            place += keys.nbytes
            values = np.frombuffer(message, np.float32, size * self._widths[number], place)
            place += values.nbytes
            self.model.signatures["incr_update_rows"](
                id=tf.constant(number), keys=tf.constant(keys), values=tf.constant(values)
            )


def main() -> None:
    """Follows until interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder of saved_model.pb")
    parser.add_argument("--deltas", type=Path, help="folder of the deltas")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="how often it looks")
    flags = parser.parse_args()
    follower = Follower(flags.model, flags.deltas)
    while True:
        if applied := follower.catch_up():
            print(f"step {follower.step}: {applied} new", flush=True)
        time.sleep(flags.every)


if __name__ == "__main__":
    main()
