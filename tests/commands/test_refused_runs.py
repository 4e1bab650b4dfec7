"""A run that is refused leaves model_dir unchanged."""

from __future__ import annotations

import pathlib

import pytest
from commands.running import evaluation, keep_threads, training
from small_job import SmallJob, write_data


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with data and a finished run of DeepFM in `model`."""
    folder = tmp_path_factory.mktemp("refused")
    write_data(folder / "rows.csv", 100)
    job = SmallJob(folder / "rows.csv", folder / "model", evaluation=folder / "rows.csv")
    with pytest.MonkeyPatch.context() as patch:
        keep_threads(patch)
        assert training(job.write(folder / "x.config")) == 0
    return folder


def _contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file of a run but those of its logs and its lock."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and "logs" not in p.parts and p.name != ".lock"
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--continue_train", "--edit_config_json", '{"feature_config.features[:].embedding_dim": 8}'],
            "in the checkpoint, [200, 8] in the model",
        ),
        (["--continue_train", "--model_config.model_class=WideAndDeep"], "wide_and_deep"),
        (["--continue_train", "--train_input_path", "nowhere.csv"], "nowhere.csv"),
        (["--continue_train", "--data_config.separator=;"], "columns"),
        ([], "already contains checkpoints"),
    ],
)
def test_nothing_changes(
    trained: pathlib.Path,
    flags: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    keep_threads(monkeypatch)
    before = _contents(trained / "model")
    assert "ESTIMATOR_TRAIN_DONE" in before
    # Where the position is kept, nothing would be read of an input that is finished.
    assert training(trained / "x.config", *flags, "--data_config.num_epochs=2") in (1, 2)
    assert message in capfd.readouterr().err
    assert _contents(trained / "model") == before
    assert evaluation("--model_dir", trained / "model") == 0


def test_another_model_is_refused(
    trained: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    keep_threads(monkeypatch)
    other = SmallJob(trained / "rows.csv", trained / "model", model="DCN").write(trained / "dcn.config")
    before = _contents(trained / "model")
    assert training(other, "--continue_train") in (1, 2)
    assert "doesn't belong to this model" in capfd.readouterr().err
    assert _contents(trained / "model") == before
    assert evaluation("--model_dir", trained / "model") == 0
