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
        self._applied: dict[str, tuple[int, str]] = {}

    def catch_up(self) -> int:
        """Applies what is new, in the order of the steps; returns how many messages that were."""
        found = [NAME.fullmatch(path.name) for path in self.folder.glob("*.done")]
        # A message of the export's own step is needed if the run went back to that step.
        there = sorted((int(f[2]), f[0][:-5]) for f in found if f and int(f[2]) >= self._exported)
        count = 0
        for step, name in there:
            try:
                sha256 = json.loads((self.folder / f"{name}.json").read_text())["sha256"]
                if self._applied.get(name, (0, ""))[1] == sha256:
                    continue
                message = (self.folder / name).read_bytes()
            except FileNotFoundError:
                # The run is withdrawing or replacing it.
                break
            if hashlib.sha256(message).hexdigest() != sha256:
                if (self.folder / f"{name}.done").exists():
                    raise OSError(f"{self.folder / name} is damaged")
                break
            self.apply(message)
            # After a restart of the run, a message may replace one that was withdrawn. Those of later steps
            # were withdrawn too, and must be applied again even if they are written with the same values.
            self._applied = {n: (s, digest) for n, (s, digest) in self._applied.items() if s <= step}
            self._applied[name], self.step, count = (step, sha256), step, count + 1
        return count

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
