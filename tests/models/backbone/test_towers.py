"""MatchModel's towers alone: from the groups that each needs, the vectors that the whole model gives."""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf
from golden.easyrec import golden_run

from hvdrec.commands.restored import restore
from hvdrec.config.models.registry import spec_of
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving.module import ServingModule


def test_towers_of_a_backbone_serve_apart(tmp_path: pathlib.Path) -> None:
    run = golden_run("dssm_backbone_taobao")
    job, _ = restore(run.config(tmp_path), SingleReplica(), run.checkpoint(30))
    sides = spec_of(job.proto.model_config).sides(job.proto)
    assert sides == {"user": ["user"], "item": ["item"]}
    names = [field.input_name for field in job.proto.data_config.input_fields]
    rows = [line.split(",") for line in (run.folder / "data.csv").read_text().splitlines()[:8]]
    cells = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    kinds = {tf.string: str, tf.int32: int, tf.int64: int, tf.float32: float, tf.float64: float}

    def served(side: str) -> dict[str, np.ndarray]:
        module = ServingModule(job.proto, job.recommender, side)
        given = [tf.constant([kinds[i.dtype](c or 0) for c in cells[i.name]], i.dtype) for i in module.inputs]
        return {name: tensor.numpy() for name, tensor in module.serve(*given).items()}

    whole = served("")
    for side in ("user", "item"):
        name = f"{side}_tower_emb"
        np.testing.assert_allclose(served(side)[name], whole[name], rtol=1e-6)
