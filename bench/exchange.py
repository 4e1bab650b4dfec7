"""The share of a step that goes to the exchange between ranks: one message of dense gradients, and several.

    .venv/bin/python bench/exchange.py --ranks 2 --gigabits 1,10 --out exchange.json
    .venv/bin/python bench/exchange.py --ranks 2 --ways none,one,2,4      # no link: ranks on this machine (MPI)

Whole steps of training on batches that are in memory, by ranks that compute with one thread each: `dense` is a
DeepFM with layers of 1024, 512 and 256 on small tables, `tables` a DLRM with 26 tables of 100,000 rows and layers
of 512, 256 and 128. Every way is a graph of its own over the same variables; all alternate in the same processes:

    none     nothing is exchanged: each rank takes its own numbers for those of all (what a step costs by itself)
    one      all dense gradients in one message after the backward pass
    auto     the buckets that `allreduce_buckets: 0` chooses on several machines
    2, 3 ..  that many buckets
    half     `auto`, with the gradients of rows in half precision

The share of a way is (its step - the step of `none`) / its step: waiting, and the work of sending that isn't hidden.
`exposed` is the median time, by Horovod's timeline of rank 0, from when the last message of a step was ready on all
ranks until all had arrived: what the backward pass doesn't hide.
With `--gigabits` ranks run in network namespaces, as root, connected by links of these rates (bench/links.py).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[i]) for i in (0, 1)]

from bench.links import run_on_hosts
from bench.machine import describe
from bench.timeline import exposed

#: Steps of one call, and the rows of a rank's batch.
STEPS = 4
BATCHES = {"dense": 1024, "tables": 2048}


def config_of(model: str, folder: pathlib.Path) -> pathlib.Path:
    """Writes the config of a model, and its rows if they aren't there."""
    import layouts
    import ml1m

    data, path = folder / f"{model}.csv", folder / f"{model}.config"
    batch = BATCHES[model]
    if model == "dense":
        ml1m.write_data(data, 16 * batch)
        text = ml1m.config_text(data, folder / "unused", batch, 0)
        text = text.replace("[256, 128, 64]", "[1024, 512, 256]")
        assert "[1024, 512, 256]" in text
    else:
        layouts.LAYOUTS["criteo"].write(data, 16 * batch)
        text = layouts.LAYOUTS["criteo"].config().replace("criteo.csv", str(data))
        text = text.replace("hash_bucket_size: 1000000", "hash_bucket_size: 100000")
        text = text.replace("data_config {", f"data_config {{ batch_size: {batch} shuffle: false", 1)
        text = text.replace("top_dnn { hidden_units: [64] }", "top_dnn { hidden_units: [512, 256, 128] }")
        assert "[512, 256, 128]" in text
        text = text.replace("train_config {", "train_config { train_distribute: HorovodStrategy", 1)
    path.write_text(text.replace("train_config {", "train_config { embedding_split: REPLICATED", 1))
    return path


def alone(group: Any) -> Any:
    """A group that exchanges nothing, with the shapes and the sums of one that does."""
    import tensorflow as tf

    from hvdrec.parallel.group import ReplicaGroup

    class Alone(ReplicaGroup):
        rank, size, local_rank, local_size = group.rank, group.size, group.local_rank, group.local_size
        one_host = group.one_host

        def sum(self, value: tf.Tensor, name: str) -> tf.Tensor:
            return value * tf.constant(self.size, value.dtype)

        def concat(self, value: tf.Tensor, name: str) -> tf.Tensor:
            return tf.concat([value] * self.size, axis=0)

        def exchange(self, value: tf.Tensor, counts: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
            return value, counts

        def broadcast(self, variables: Any) -> None:
            pass

        def gather_objects(self, value: Any) -> list[Any]:
            return [value] * self.size

        def close(self) -> None:
            pass

    return Alone()


def step_of(way: str, job: Any, first: Any) -> Any:
    """A training step that exchanges in one of the ways."""
    from hvdrec.trainer.assembly import build_step

    own = copy.copy(job)
    if way == "none":
        own.group = alone(job.group)
    own.proto = copy.deepcopy(job.proto)
    train = own.proto.train_config
    train.allreduce_buckets = int(way) if way.isdigit() else int(way in ("none", "one"))
    train.allgather_compression = train.FP16 if way == "half" else train.NONE
    return build_step(own, first)


def measure(arguments: argparse.Namespace) -> None:
    """Runs on every rank."""
    import tensorflow as tf

    from hvdrec.config import load
    from hvdrec.parallel.launch import join_group
    from hvdrec.trainer.input import open_batches
    from hvdrec.trainer.job import Job

    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.inter)
    group = join_group()
    found = []
    for path in map(pathlib.Path, arguments.configs):
        job = Job(load(str(path)), group)
        with open_batches(job.proto, job.plan, group, True) as loader:
            batches = [next(loader) for _ in range(STEPS)]
        call = job.feed.stack(batches)
        steps = dict[str, Any]()
        for way in arguments.ways.split(","):
            steps[way] = step_of(way, job, batches[0])
            # Traced at once, because the banks keep what was decided for the last step.
            steps[way].run(call, tf.zeros([1]))
        times: dict[str, list[float]] = {way: [] for way in steps}
        for _ in range(arguments.rounds):
            for way, step in steps.items():
                group.gather_objects(None)
                begin = time.perf_counter()
                done = int(step.run(call, tf.zeros([1])).steps)
                assert done == STEPS, (way, done)
                times[way].append((time.perf_counter() - begin) / STEPS)
        found += [record(path.stem, way, steps[way], times, group) for way in steps]
    if group.rank == 0:
        arguments.measure.write_text(json.dumps(found))
    group.close()


def record(model: str, way: str, step: Any, times: dict[str, list[float]], group: Any) -> dict[str, Any]:
    """What was found for one way."""
    own, free = (np.array(times[name]) for name in (way, "none"))
    result = {
        "model": model,
        "way": way,
        "ranks": group.size,
        "messages": len(step.reducer.buckets),
        "milliseconds": round(1e3 * float(np.median(own)), 2),
        "share": round(float(np.median((own - free) / own)), 3),
        "to_one": round(float(np.median(own / np.array(times.get("one", times[way])))), 3),
    }
    return result


def launch(
    program: list[str], arguments: argparse.Namespace, rate: float | None, folder: pathlib.Path
) -> list[dict[str, Any]]:
    """Runs the ranks with links of a rate, or without; returns what they found."""
    print(f"{rate or 'no'} Gbit/s, {arguments.ranks} ranks", flush=True)
    timeline = folder / f"timeline-{rate}.json"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "HOROVOD_TIMELINE": str(timeline)}
    if rate is None:
        launcher = [str(pathlib.Path(sys.executable).with_name("horovodrun")), "-np", str(arguments.ranks)]
        subprocess.run([*launcher, *program], check=True, env=environment)
    else:
        run_on_hosts(program, arguments.ranks, rate, environment)
    found = json.loads((folder / "results.json").read_text())
    ways = [way for way in arguments.ways.split(",") if way != "none"]
    models = exposed(timeline, ways, arguments.rounds)
    waits = dict(zip(arguments.models.split(","), models, strict=True))
    for each in found:
        each |= {"gigabits": rate, "exposed": waits[each["model"]].get(each["way"], 0.0)}
        print(json.dumps(each), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--models", default=",".join(BATCHES))
    parser.add_argument("--ways", default="none,one,auto,half", help="`none` must be one of them")
    parser.add_argument(
        "--gigabits", help="per second, of links between ranks in namespaces (as root); several"
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--inter", type=int, default=2, help="operations that a rank runs at a time")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("configs", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments)
        return
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        configs = [str(config_of(model, folder)) for model in arguments.models.split(",")]
        program = [sys.executable, __file__, "--ways", arguments.ways, "--rounds", str(arguments.rounds)]
        program += ["--inter", str(arguments.inter), "--measure", str(folder / "results.json"), *configs]
        for rate in [float(r) for r in arguments.gigabits.split(",")] if arguments.gigabits else [None]:
            results += launch(program, arguments, rate, folder)
    if arguments.out:
        packages = ["numpy", "tensorflow-cpu", "horovod"]
        arguments.out.write_text(json.dumps({**describe(*packages), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
