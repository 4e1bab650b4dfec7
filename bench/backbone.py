"""The time of a step of a backbone, compared with the model class that computes the same.

    .venv/bin/python bench/backbone.py [--models DeepFM,WideAndDeep,MultiTower] [--calls 40] [--out FILE.json]

Both are built on the rows of data/adult in one process; calls of 20 steps of 512 rows alternate between the class and
the backbone, on the same packed batches. `milliseconds` is the median time of a step, `ratio` the median over the
pairs of calls of the backbone's time divided by the class's. The first calls of each, which trace the graph, don't
count. That both give the same numbers is tested (tests/models/backbone/test_as_classes.py).
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
import tempfile
import time
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import describe, report

ROOT = pathlib.Path(__file__).resolve().parents[1]
BATCH, STEPS, WARM = 512, 20, 3
_DNN = "use_bias: true use_final_bias: true"


def _mlp(name: str, inputs: str, units: str, more: str = "") -> str:
    layer = f'keras_layer {{ class_name: "MLP" mlp {{ hidden_units: {units} {_DNN} {more} }} }}'
    return f'blocks {{ name: "{name}" {inputs} {layer} }}'


def _of(block: str, more: str = "") -> str:
    return f'inputs {{ block_name: "{block}" {more} }}'


_WIDE = """blocks { name: "wide" inputs { feature_group_name: "wide" }
  input_layer { only_output_feature_list: true wide_output_dim: 1 } }"""
_SUM = 'input_fn: "lambda x: tf.add_n(x)"'
#: The class's own message, and the equivalent blocks.
PAIRS = {
    "DeepFM": (
        """deepfm { dnn { hidden_units: [64, 32] } final_dnn { hidden_units: [24] } wide_output_dim: 1
           l2_regularization: 0 }""",
        f"""{_WIDE} blocks {{ name: "features" inputs {{ feature_group_name: "deep" }}
          input_layer {{ output_2d_tensor_and_feature_list: true }} }}
        blocks {{ name: "fm" {_of("features", 'input_slice: "[1]"')}
          keras_layer {{ class_name: "FM" fm {{ use_variant: true }} }} }}
        {_mlp("dnn", _of("features", 'input_slice: "[0]"'), "[64, 32]")}
        {_mlp("final", _of("wide", _SUM) + _of("fm") + _of("dnn"), "[24]")} concat_blocks: "final" """,
    ),
    "WideAndDeep": (
        """wide_and_deep { dnn { hidden_units: [64, 32] } final_dnn { hidden_units: [24] }
           wide_output_dim: 1 l2_regularization: 0 }""",
        f"""{_WIDE} {_mlp("dnn", 'inputs { feature_group_name: "deep" }', "[64, 32]")}
        {_mlp("final", _of("wide", _SUM) + _of("dnn"), "[24]")} concat_blocks: "final" """,
    ),
    "MultiTower": (
        """multi_tower { towers { input: "deep" dnn { hidden_units: [64, 32] } }
           towers { input: "person" dnn { hidden_units: [48, 16] } }
           final_dnn { hidden_units: [24] } l2_regularization: 0 }""",
        f"""blocks {{ name: "p" inputs {{ feature_group_name: "person" }} input_layer {{ do_batch_norm: true }} }}
        blocks {{ name: "d" inputs {{ feature_group_name: "deep" }} input_layer {{ do_batch_norm: true }} }}
        {_mlp("one", _of("d"), "[64, 32]")} {_mlp("other", _of("p"), "[48, 16]")}
        {_mlp("final", _of("one") + _of("other"), "[24]")} concat_blocks: "final" """,
    ),
}
_PERSON = 'feature_groups { group_name: "person" wide_deep: DEEP feature_names: ["age", "sex", "race"] }'


def config_text(name: str, backbone: bool, model_dir: pathlib.Path) -> str:
    """A config on the rows of configs/deepfm_adult.config, for a model class or for the equivalent backbone."""
    text = (ROOT / "configs" / "deepfm_adult.config").read_text()
    groups = "\n".join(re.findall(r"feature_groups \{.*\}", text)) + _PERSON
    wanted = {"MultiTower": ("deep", "person")}.get(name, ("deep", "wide"))
    kept = [
        g
        for g in re.findall(r"feature_groups \{[^}]*\}", groups)
        if re.search(f'"({"|".join(wanted)})" wide', g)
    ]
    own, blocks = PAIRS[name]
    model = f"backbone {{ {blocks} }} model_params {{ l2_regularization: 0 }}" if backbone else own
    text = text[: text.index("model_config {")].replace("HorovodStrategy", "NoStrategy")
    text = re.sub(r"data/adult/(\w+)", lambda m: str(ROOT / "data" / "adult" / m[1]), text)
    text = text.replace('"runs/deepfm_adult"', f'"{model_dir}"').replace(
        "batch_size: 128", f"batch_size: {BATCH}"
    )
    class_name = "RankModel" if backbone else name
    return f'{text} model_config {{ model_class: "{class_name}" {" ".join(kept)} {model} }}'


def build(name: str, backbone: bool, folder: pathlib.Path) -> Any:
    """A job of a config."""
    from hvdrec.config import load
    from hvdrec.config.checks.check import check
    from hvdrec.parallel.single import SingleReplica
    from hvdrec.trainer.job import Job

    path = folder / f"{name}_{backbone}.config"
    path.write_text(config_text(name, backbone, folder / "run"))
    config = load(str(path))
    check(config)
    return Job(config, SingleReplica())


def batches_of(job: Any, count: int) -> list[Any]:
    """The first batches of the training data."""
    from hvdrec.parallel.single import SingleReplica
    from hvdrec.trainer.input import open_batches

    with open_batches(job.proto, job.plan, SingleReplica(), True) as batches:
        return [next(batches) for _ in range(count)]


def measure(name: str, calls: int) -> dict[str, Any]:
    """The times of one model."""
    from hvdrec.trainer.assembly import build_step
    from hvdrec.trainer.loop import Flag

    with tempfile.TemporaryDirectory() as folder:
        jobs = [build(name, backbone, pathlib.Path(folder)) for backbone in (False, True)]
        steps = []
        for job in jobs:
            batches = batches_of(job, STEPS)
            steps.append((build_step(job, batches[0]), job.feed.stack(batches)))
        times = np.zeros((calls, 2))
        flags = np.zeros(len(Flag), np.float32)
        for call in range(-WARM, calls):
            for which in ((0, 1), (1, 0))[call % 2]:
                step, stacked = steps[which]
                start = time.perf_counter()
                int(step.run(stacked, flags).steps)
                if call >= 0:
                    times[call, which] = time.perf_counter() - start
    ratios = times[:, 1] / times[:, 0]
    milliseconds = np.round(1e3 * np.median(times, axis=0) / STEPS, 3).tolist()
    return {
        "model": name,
        "milliseconds": dict(zip(("class", "backbone"), milliseconds, strict=True)),
        "ratio": round(float(np.median(ratios)), 3),
        "ratio_quartiles": np.round(np.quantile(ratios, [0.25, 0.75]), 3).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default=",".join(PAIRS))
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    results = [measure(name, arguments.calls) for name in arguments.models.split(",")]
    report(
        {**describe("numpy"), "batch": BATCH, "threads": arguments.threads, "results": results}, arguments.out
    )


if __name__ == "__main__":
    main()
