"""The time of a step of a backbone, compared with the model class that computes the same.

    .venv/bin/python bench/backbone.py [--models DeepFM,DCN,...] [--calls 40] [--out FILE.json]

Both are built on the rows of data/adult in one process; calls of 20 steps of 512 rows alternate between the class and
the backbone, on the same packed batches. `milliseconds` is the median time of a step, `ratio` the median over the
pairs of calls of the backbone's time divided by the class's, `cpu_ratio` the same of the process's CPU time, which
other programs disturb less. The first calls of each, which trace the graph, don't count. That both give the same
numbers is tested (tests/models/backbone/test_as_classes.py).
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
_LINEAR = 'use_final_bn: false final_activation: "linear"'


def _mlp(name: str, inputs: str, units: str, more: str = "") -> str:
    layer = f'keras_layer {{ class_name: "MLP" mlp {{ hidden_units: {units} {_DNN} {more} }} }}'
    return f'blocks {{ name: "{name}" {inputs} {layer} }}'


def _of(block: str, more: str = "") -> str:
    return f'inputs {{ block_name: "{block}" {more} }}'


_WIDE = """blocks { name: "wide" inputs { feature_group_name: "wide" }
  input_layer { only_output_feature_list: true wide_output_dim: 1 } }"""
_SUM = 'input_fn: "lambda x: tf.add_n(x)"'
_TASK = """task_towers { tower_name: "%s" label_name: "label" dnn { hidden_units: [16] } metrics_set { auc {} } }"""
_TASKS = f"{_TASK % 'one'} {_TASK % 'two'}"
_RELATED = """task_towers { tower_name: "one" label_name: "label" dnn { hidden_units: [20] }
    relation_dnn { hidden_units: [12] } metrics_set { auc {} } }
  task_towers { tower_name: "two" label_name: "label" dnn { hidden_units: [20] } relation_tower_names: "one"
    relation_dnn { hidden_units: [12] } metrics_set { auc {} } }"""
_SIMILARITY = "simi_func: COSINE temperature: 0.1 scale_simi: true"


def _crossed(step: int, before: str) -> str:
    """A cross layer of DCN: the bias of a layer over zeros is the layer's bias vector."""
    return f"""blocks {{ name: "w{step}" {_of(before)}
          keras_layer {{ class_name: "Dense" st_params {{ fields {{ key: "units" value {{ number_value: 1 }} }}
            fields {{ key: "use_bias" value {{ bool_value: false }} }} }} }} }}
        blocks {{ name: "b{step}" {_of("x", 'input_fn: "lambda x: tf.zeros_like(x[:, :1])"')}
          keras_layer {{ class_name: "Dense" st_params {{ fields {{ key: "units" value {{ number_value: 120 }} }} }} }} }}
        blocks {{ name: "x{step}" {_of("x")} {_of(before)} {_of(f"w{step}")} {_of(f"b{step}")}
          merge_inputs_into_list: true lambda {{ expression: "lambda x: x[0] * x[2] + x[3] + x[1]" }} }}"""


#: The class's own message, and the equivalent blocks; for other classes than RankModel with `model_params`.
PAIRS = {
    "DCN": (
        """dcn { deep_tower { input: "all" dnn { hidden_units: [64, 32] } }
           cross_tower { input: "all" cross_num: 2 } final_dnn { hidden_units: [24] } l2_regularization: 0 }""",
        f"""blocks {{ name: "x" inputs {{ feature_group_name: "all" }} input_layer {{}} }}
        {_mlp("deep", _of("x"), "[64, 32]")} {_crossed(1, "x")} {_crossed(2, "x1")}
        {_mlp("final", _of("deep") + _of("x2"), "[24]")} concat_blocks: "final" """,
    ),
    "DLRM": (
        """dlrm { bot_dnn { hidden_units: [16, 8] } top_dnn { hidden_units: [64, 32] }
           arch_with_dense_feature: true l2_regularization: 0 }""",
        f"""{_mlp("bottom", 'inputs { feature_group_name: "dense" }', "[16, 8]")}
        blocks {{ name: "sparse" inputs {{ feature_group_name: "sparse" }}
          input_layer {{ output_2d_tensor_and_feature_list: true }} }}
        blocks {{ name: "dot" {_of("bottom", 'input_fn: "lambda x: [x]"')} {_of("sparse", 'input_slice: "[1]"')}
          keras_layer {{ class_name: "DotInteraction" }} }}
        {_mlp("top", _of("dot") + _of("sparse", 'input_slice: "[0]"') + _of("bottom"), "[64, 32]")}
        concat_blocks: "top" """,
    ),
    "MMoE": (
        f"mmoe {{ expert_dnn {{ hidden_units: [64, 32] }} num_expert: 3 {_TASKS} l2_regularization: 0 }}",
        f"""blocks {{ name: "mmoe" inputs {{ feature_group_name: "all" }} keras_layer {{ class_name: "MMoE"
          mmoe {{ num_task: 2 num_expert: 3 expert_mlp {{ hidden_units: [64, 32] {_DNN} }} }} }} }}
        concat_blocks: "mmoe" """,
        f"MultiTaskModel {_TASKS}",
    ),
    "DBMTL": (
        f"dbmtl {{ bottom_dnn {{ hidden_units: [64, 32] }} {_RELATED} l2_regularization: 0 }}",
        f"""{_mlp("bottom", 'inputs { feature_group_name: "all" }', "[64, 32]")} concat_blocks: "bottom" """,
        f"MultiTaskModel {_RELATED}",
    ),
    "DSSM": (
        f"""dssm {{ user_tower {{ id: "age" dnn {{ hidden_units: [64, 16] }} }}
          item_tower {{ id: "country" dnn {{ hidden_units: [48, 16] }} }} {_SIMILARITY} l2_regularization: 0 }}""",
        f"""{_mlp("u", 'inputs { feature_group_name: "user" }', "[64, 16]", _LINEAR)}
        {_mlp("i", 'inputs { feature_group_name: "item" }', "[48, 16]", _LINEAR)} output_blocks: ["u", "i"] """,
        f"MatchModel user_tower_idx_in_output: 0 item_tower_idx_in_output: 1 {_SIMILARITY}",
    ),
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
#: The groups of each, by name: those of the base config, or these.
_GROUPS = {
    "person": '["age", "sex", "race"]',
    "user": '["age", "sex", "race", "education"]',
    "item": '["workclass", "occupation", "hours", "country"]',
}
_WANTED = {
    "MultiTower": ("deep", "person"),
    "DSSM": ("user", "item"),
    "DLRM": ("dense", "sparse"),
    **dict.fromkeys(("DCN", "MMoE", "DBMTL"), ("deep",)),
}


def config_text(name: str, backbone: bool, model_dir: pathlib.Path) -> str:
    """A config on the rows of data/adult, for a model class or for the equivalent backbone."""
    base = "dlrm_adult" if name == "DLRM" else "deepfm_adult"
    text = (ROOT / "configs" / f"{base}.config").read_text()
    found = re.findall(
        r'feature_groups { group_name: "(\w+)" wide_deep: (\w+) feature_names: (\[.*\]) }', text
    )
    groups = {
        **{g: (kind, names) for g, kind, names in found},
        **{g: ("DEEP", n) for g, n in _GROUPS.items()},
    }
    kept = []
    for group in _WANTED.get(name, ("deep", "wide")):
        kind, names = groups[group]
        shown = "all" if name in ("DCN", "MMoE", "DBMTL") else group
        kept.append(f'feature_groups {{ group_name: "{shown}" wide_deep: {kind} feature_names: {names} }}')
    own, blocks, *more = PAIRS[name]
    class_name, params = (more[0].split(" ", 1) if more else ("RankModel", "")) if backbone else (name, "")
    model = f"backbone {{ {blocks} }} model_params {{ l2_regularization: 0 {params} }}" if backbone else own
    text = text[: text.index("model_config {")].replace("HorovodStrategy", "NoStrategy")
    text = re.sub(r"data/adult/(\w+)", lambda m: str(ROOT / "data" / "adult" / m[1]), text)
    text = text.replace(f'"runs/{base}"', f'"{model_dir}"').replace("batch_size: 128", f"batch_size: {BATCH}")
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
        times, cpu = np.zeros((2, calls, 2))
        flags = np.zeros(len(Flag), np.float32)
        for call in range(-WARM, calls):
            for which in ((0, 1), (1, 0))[call % 2]:
                step, stacked = steps[which]
                start, used = time.perf_counter(), time.process_time()
                int(step.run(stacked, flags).steps)
                if call >= 0:
                    times[call, which] = time.perf_counter() - start
                    cpu[call, which] = time.process_time() - used
    ratios = times[:, 1] / times[:, 0]
    milliseconds = np.round(1e3 * np.median(times, axis=0) / STEPS, 3).tolist()
    return {
        "model": name,
        "milliseconds": dict(zip(("class", "backbone"), milliseconds, strict=True)),
        "ratio": round(float(np.median(ratios)), 3),
        "cpu_ratio": round(float(np.median(cpu[:, 1] / cpu[:, 0])), 3),
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
    results = []
    for name in arguments.models.split(","):
        results.append(measure(name, arguments.calls))
        print(results[-1], file=sys.stderr, flush=True)
    report(
        {**describe("numpy"), "batch": BATCH, "threads": arguments.threads, "results": results}, arguments.out
    )


if __name__ == "__main__":
    main()
