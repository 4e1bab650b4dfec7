"""The same rows in the same steps give the same weights on 1, 2, 3 and 8 ranks.

What each model class computes in a step of several ranks is in tests/trainer/step/test_ranks.py.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
from multirank.launch import start
from small_job import SmallJob, write_data

#: The jobs of all rank counts run in the first test.
pytestmark = [pytest.mark.multirank, pytest.mark.timeout(900)]

WORKER = str(pathlib.Path(__file__).with_name("worker.py"))
GLOBAL_BATCH = 48
STEPS = 50
SGD = "sgd_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.1 } } }"
ADAGRAD = "adagrad_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.05 } } }"
#: More optimizers for gathered gradients.
OTHERS = {
    "adagrad": ADAGRAD,
    "momentum": "momentum_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.05 } } }",
    "sgd": SGD,
}
#: Losses over the rows of all ranks; labels are classes within sessions.
EMBEDDING: dict[str, object] = {
    "model": "CoMetricLearningI2I",
    "steps": 20,
    "optimizer": SGD,
    "data_extra": 'shuffle: false eval_batch_size: 64 label_fields: "uid"',
    "metrics": "metrics_set { recall_at_topk { topk: 1 } } metrics_set { precision_at_topk { topk: 5 } }",
}
CIRCLE = """loss_type: CIRCLE_LOSS metric_learning {
  session_id: "uid" circle_loss { margin: 0.25 gamma: 8 cross_replica: true } }"""
MULTI_SIMILARITY = """loss_type: MULTI_SIMILARITY_LOSS metric_learning { session_id: "uid" multi_similarity_loss {
  alpha: 2 beta: 10 lamb: 0.5 eps: 0.3 mining: true cross_replica: true } }"""

#: Jobs in which an odd number of ranks matters: rows, tables or sums are divided.
OF_THREE_RANKS = (
    "adam_gather",
    "deferred_gather",
    "rows",
    "few",
    "split",
    "few_split",
    "circle",
    "pairs",
    "dynamic",
)
OF_EIGHT_RANKS = ("rows", "adam_dense")
#: The pairs of all ranks: plain, masked, mined and within sessions; two losses of one kind.
PAIRS: dict[str, object] = {
    "steps": 20,
    "optimizer": SGD,
    "model_extra": """
  losses { loss_type: PAIR_WISE_LOSS pairwise_loss { cross_replica: true } }
  losses { loss_type: PAIR_WISE_LOSS loss_name: "by_user" pairwise_loss { session_name: "uid" cross_replica: true } }
  losses { loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss { hinge_margin: 1 cross_replica: true } }
  losses { loss_type: PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { ohem_ratio: 0.5 cross_replica: true } }
  losses { loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss { cross_replica: true } }""",
}
#: The items of all ranks as negatives, corrected for how often they come.
IN_BATCH: dict[str, object] = {
    "model": "DSSM",
    "steps": 20,
    "optimizer": SGD,
    "metrics": "metrics_set { recall_at_topk { topk: 5 } }",
    "model_extra": """loss_type: SOFTMAX_CROSS_ENTROPY
  softmax_cross_entropy { cross_replica: true sampling_correction: true frequency_momentum: 0.9 frequency_buckets: 64 }""",
}


#: Tables of both widths, one of them a single number, are distributed over the ranks.
SPLIT = "train_distribute: EmbeddingParallelStrategy embedding_split_min_bytes: 0"
#: Ids get rows on the third sighting, on whichever ranks, and lose them.
DYNAMIC = "embedding_regularization: 1e-5 ev_params { filter_freq: 3 steps_to_live: 4 }"


def _jobs(folder: pathlib.Path, ranks: int) -> list[dict[str, object]]:
    data, numbered = folder / "train.csv", folder / "numbered.csv"
    if not data.exists():
        write_data(data, 1500)
        write_data(folder / "eval.csv", 700, seed=1)
        rows = data.read_text().splitlines()
        # 1,003 rows whose label is their number: who trained on which row can be read off.
        numbered.write_text("".join(f"{i},{rows[i].split(',', 1)[1]}\n" for i in range(1003)))
        write_data(folder / "few.csv", 5)
    out = folder / f"np{ranks}"
    out.mkdir(exist_ok=True)

    def job(name: str, verify: int = 0, **changes: object) -> dict[str, object]:
        values: dict[str, object] = {
            "train": data,
            "model_dir": out / f"model_{name}",
            "batch_size": GLOBAL_BATCH // ranks,
            "steps": STEPS,
            "batch_norm": False,
            "data_extra": "shuffle: false eval_batch_size: 64",
            **changes,
        }
        config = SmallJob(**values).write(out / f"{name}.config")  # type: ignore[arg-type]
        return {"name": name, "config": str(config), "verify": verify}

    # Rows of labels 0 and 1 that meet in a bucket would cancel out but for rounding, which Adam makes a whole
    # step of; of different weights they don't.
    adam = {"data_extra": 'shuffle: false eval_batch_size: 64 sample_weight: "weight"'}
    clip = "gradient_clipping_by_norm: 0.05"
    gather = "sparse_reduce: GATHER"
    half = "allreduce_compression: FP16 allgather_compression: FP16"
    # Every rank count trains on the five rows in one step: a single rank takes them as one batch.
    few = {"train": folder / "few.csv", "steps": 0, "batch_size": 5 if ranks == 1 else 4}
    l2 = "loss_type: L2_LOSS embedding_regularization: 1e-4"
    jobs = [
        job("adam_gather", **adam, train_extra=gather, evaluation=folder / "eval.csv"),
        job("adam_gather_clip", **adam, train_extra=f"{gather} {clip}"),
        job("adam_dense", **adam, train_extra=f"sparse_reduce: DENSE {clip} allreduce_buckets: 3"),
        # Rows that wait, of gradients that travel either way.
        job("deferred", **adam, verify=7, train_extra="row_updates: DEFERRED"),
        job("deferred_gather", **adam, verify=7, train_extra=f"{gather} row_updates: DEFERRED"),
        *(
            job(f"{name}_gather", optimizer=text, train_extra=f"{gather} {clip}")
            for name, text in OTHERS.items()
        ),
        job(
            "dynamic",
            optimizer=ADAGRAD,
            model="WideAndDeep",
            model_extra=DYNAMIC,
            verify=7,
            evaluation=folder / "eval.csv",
        ),
        job("towers", optimizer=ADAGRAD, model="MMoE", metrics="", evaluation=folder / "eval.csv"),
        job("rows", train=numbered, steps=0, model="FM", model_extra=l2, batch_size=16, metrics=""),
        job("few", **few, model="DCN"),
        job(
            "split",
            model="WideAndDeep",
            **adam,
            # Rows that wait on the rank that holds them.
            verify=7,
            train_extra=f"{SPLIT} {clip} row_updates: DEFERRED allreduce_buckets: 2",
            evaluation=folder / "eval.csv",
        ),
        job("few_split", **few, model="WideAndDeep", train_extra=SPLIT),
        job(
            "norm",
            batch_norm=True,
            model="MultiTower",
            verify=7,
            steps=21,
            train_extra="allreduce_buckets: 2",
        ),
        # SGD's step is as wrong as the gradient; Adam would make a whole step of a gradient's rounding.
        job("exact", optimizer=SGD),
        job("fp16", optimizer=SGD, train_extra=f"{half} {gather} allreduce_buckets: 2"),
        job("buckets", optimizer=SGD, train_extra="allreduce_buckets: 4"),
        job("circle", **EMBEDDING, model_extra=CIRCLE, evaluation=folder / "eval.csv"),
        job("multi_similarity", **EMBEDDING, model_extra=MULTI_SIMILARITY),
        job("few_circle", **{**EMBEDDING, **few}, model_extra=CIRCLE),
        job("pairs", **PAIRS),
        job("few_pairs", **{**PAIRS, **few}),
        job("in_batch", **IN_BATCH),
        job("few_in_batch", **{**IN_BATCH, **few}),
    ]
    wanted = {3: OF_THREE_RANKS, 8: OF_EIGHT_RANKS}.get(ranks)
    return [j for j in jobs if wanted is None or j["name"] in wanted]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, pathlib.Path]:
    """The folders with the results of 1, 2, 3 and 8 ranks for the same jobs."""
    folder = tmp_path_factory.mktemp("equivalence")
    found = {}
    for ranks, launcher in ((1, "plain"), (2, "horovodrun"), (3, "mpirun"), (8, "gloo")):
        jobs = folder / f"jobs{ranks}.json"
        specs = _jobs(folder, ranks)
        out = folder / f"np{ranks}"
        jobs = out / "jobs.json"
        jobs.write_text(json.dumps(specs))
        done = start(launcher, ranks, [WORKER, str(jobs)], timeout=400)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        found[ranks] = out
    return found


def _weights(folder: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / f"{name}.npz") as file:
        return dict(file)


def _records(folder: pathlib.Path, name: str, ranks: int) -> list[dict[str, object]]:
    return [json.loads((folder / f"{name}.rank{r}.json").read_text()) for r in range(ranks)]


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        (n, r)
        for n in (
            "adam_gather",
            "adam_gather_clip",
            "adam_dense",
            "deferred",
            "deferred_gather",
            "towers",
            "dynamic",
            "split",
            *(f"{o}_gather" for o in OTHERS),
        )
        for r in (2, 3, 8)
        if r == 2 or (r == 3 and n in OF_THREE_RANKS) or (r == 8 and n in OF_EIGHT_RANKS)
    ],
)
def test_weights_do_not_depend_on_the_ranks(outputs: dict[int, pathlib.Path], name: str, ranks: int) -> None:
    alone, together = _weights(outputs[1], name), _weights(outputs[ranks], name)
    assert alone.keys() == together.keys()
    moved = 0.0
    for key, value in alone.items():
        np.testing.assert_allclose(together[key], value, rtol=0, atol=1e-5, err_msg=key)
        moved = max(moved, float(np.abs(value).max(initial=0)))
    assert moved > 0.01
    assert int(alone["global_step"]) == STEPS


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        (n, r)
        for n in (
            *("circle", "multi_similarity", "few", "few_circle", "pairs", "few_pairs", "few_split"),
            *("in_batch", "few_in_batch"),
        )
        for r in (2, 3)
        if r == 2 or n in OF_THREE_RANKS
    ],
)
def test_losses_over_all_ranks_are_those_of_one(
    outputs: dict[int, pathlib.Path], name: str, ranks: int
) -> None:
    """Of few rows a rank may have none: then it only takes part in the exchange."""
    alone, together = _weights(outputs[1], name), _weights(outputs[ranks], name)
    assert alone.keys() == together.keys()
    for key, value in alone.items():
        np.testing.assert_allclose(together[key], value, rtol=0, atol=1e-5, err_msg=key)
    assert int(together["global_step"]) == (1 if name.startswith("few") else 20)
    if name == "circle":
        result, other = (_records(outputs[r], name, r)[0]["result"] for r in (1, ranks))
        assert 0.0 < result["recall@1"] < 1.0
        assert {"recall@1", "MAP@5", "loss/loss/circle_loss"} <= other.keys()


def test_gather_and_dense_reduce_agree(outputs: dict[int, pathlib.Path]) -> None:
    """Clipping sees the summed gradient however it travelled, and it acts."""
    gathered, dense = (_weights(outputs[2], f"adam_{name}") for name in ("gather_clip", "dense"))
    free = _weights(outputs[2], "adam_gather")
    for key, value in dense.items():
        np.testing.assert_allclose(gathered[key], value, rtol=0, atol=1e-5, err_msg=key)
    assert any(np.abs(free[key] - value).max() > 1e-4 for key, value in dense.items())


@pytest.mark.parametrize("ranks", [2, 3])
def test_split_tables_are_evaluated_by_all_ranks(outputs: dict[int, pathlib.Path], ranks: int) -> None:
    """Ranks have different numbers of batches, and none for the last ones."""
    alone, together = (_records(outputs[r], "split", r)[0]["result"] for r in (1, ranks))
    assert together == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "ranks"),
    [("deferred", 1), ("deferred", 2), ("deferred_gather", 2), ("deferred_gather", 3)],
)
def test_rows_that_wait_come_to_where_all_move(
    outputs: dict[int, pathlib.Path], name: str, ranks: int
) -> None:
    waited, moved = _weights(outputs[ranks], name), _weights(outputs[ranks], "adam_gather")
    for key, value in moved.items():
        np.testing.assert_allclose(waited[key], value, rtol=0, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_every_row_once(outputs: dict[int, pathlib.Path], ranks: int) -> None:
    seen = sorted(i for record in _records(outputs[ranks], "rows", ranks) for i in record["ids"])
    assert seen == list(range(1003))


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_replicas_hold_the_same_bits(outputs: dict[int, pathlib.Path], ranks: int) -> None:
    names = [p.stem for p in outputs[ranks].glob("*.npz")]
    assert len(names) >= 2
    for name in names:
        records = _records(outputs[ranks], name, ranks)
        assert all(r["checksums"] == records[0]["checksums"] for r in records), name


@pytest.mark.parametrize(("name", "auc"), [("adam_gather", "auc"), ("towers", "auc_ctr"), ("dynamic", "auc")])
def test_evaluation_does_not_depend_on_the_ranks(
    outputs: dict[int, pathlib.Path], name: str, auc: str
) -> None:
    """All ranks get the merged result; weights differ by rounding, so do losses."""
    alone = _records(outputs[1], name, 1)[0]["result"]
    assert 0.5 < alone[auc] <= 1.0
    for ranks in (2, 3) if name in OF_THREE_RANKS else (2,):
        for record in _records(outputs[ranks], name, ranks):
            assert record["result"].keys() == alone.keys()
            for key, value in alone.items():
                assert record["result"][key] == pytest.approx(value, abs=2e-3), key


def test_half_precision_stays_close(outputs: dict[int, pathlib.Path]) -> None:
    exact, half = _weights(outputs[2], "exact"), _weights(outputs[2], "fp16")
    table = next(name for name in exact if name.endswith("embedding_weights"))
    for key in ("deep_feature/dnn_0/kernel", table):
        assert 0 < np.abs(exact[key] - half[key]).max() < 5e-3
        # One rank exchanges nothing.
        np.testing.assert_array_equal(_weights(outputs[1], "fp16")[key], _weights(outputs[1], "exact")[key])


def test_buckets_change_nothing(outputs: dict[int, pathlib.Path]) -> None:
    """Two ranks add two numbers, whichever message carries them."""
    exact, buckets = _weights(outputs[2], "exact"), _weights(outputs[2], "buckets")
    for key, value in exact.items():
        np.testing.assert_array_equal(buckets[key], value, err_msg=key)
