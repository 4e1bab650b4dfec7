"""Negative samplers on two ranks: each draws its own, steps are the mean of both, and a resumed run is the same."""

from __future__ import annotations

import json
import pathlib

import pytest
from golden.easyrec import golden_run
from multirank.launch import start

pytestmark = pytest.mark.multirank


def test_two_ranks_draw_their_own_and_go_on(tmp_path: pathlib.Path) -> None:
    run = golden_run("dssm_neg_sampler_taobao")
    text = (run.folder / "pipeline.config").read_text()
    for name in [*run.folder.glob("*.csv"), *run.folder.glob("*.txt")]:
        text = text.replace(f'"{name.name}"', f'"{name}"')
    config = tmp_path / "c.config"
    config.write_text(text)
    (tmp_path / "rows.csv").write_text((run.folder / "data.csv").read_text())
    result = start("horovodrun", 2, ["tests/multirank/sampler_worker.py", str(config), str(tmp_path)])
    assert result.returncode == 0, result.stderr
    records = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    lines = (tmp_path / "whole" / "logs" / "rank-0.jsonl").read_text().splitlines()
    steps = [r for r in map(json.loads, lines) if r["kind"] == "step"]
    assert len(steps) == 6
    for record in records:
        assert record["differ"] == 2
        assert steps[0]["cross_entropy_loss"] == pytest.approx(record["expected"], rel=1e-5)
        assert record["parts"] == record["whole"] == records[0]["whole"]
    # The same search on two ranks and on one.
    for users in ("", "user_id"):
        alone = records[0][f"alone{users}"]
        assert all(record[f"found{users}"] == pytest.approx(alone, rel=1e-6) for record in records)
        parts = [(tmp_path / f"found{users}" / f"part-{rank}.tsv").read_text() for rank in range(2)]
        lines = (tmp_path / f"alone{users}.tsv").read_text().splitlines()
        assert all(parts)
        assert sorted("".join(parts).splitlines()) == sorted(lines)
