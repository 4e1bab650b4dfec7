from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.checkpoint import files, manifest
from hvdrec.checkpoint.finetune import fine_tune
from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError

AGE = "input_layer/age_embedding/embedding_weights"
CITY = "input_layer/city_embedding/embedding_weights"
KERNEL = "deep/dnn_0/kernel"


@pytest.fixture
def saved(tmp_path, state):
    """A directory with the state at steps 3 and 12."""
    store = Store(str(tmp_path / "old"))
    store.save(3, state.entries, {})
    state.fill(12)
    store.save(12, state.entries, {})
    return tmp_path / "old"


def test_a_directory_gives_its_newest_and_the_step_stays(saved, state, other):
    report = fine_tune(str(saved), other.entries)
    assert report.prefix == str(saved / "model.ckpt-12")
    values, wanted = other.values(), state.values()
    assert values.pop("global_step") == 0
    for name, value in values.items():
        np.testing.assert_array_equal(value, wanted[name])
    assert report.skipped == {}
    assert report.unused == ()


def test_a_prefix_is_taken_as_it_is(saved, other):
    assert fine_tune(str(saved / "model.ckpt-3"), other.entries).prefix.endswith("model.ckpt-3")
    report = fine_tune(str(saved / "model.ckpt-3.index"), other.entries)
    assert report.prefix == str(saved / "model.ckpt-3")


def test_a_folder_is_read_once_and_a_damaged_one_passed_over(saved, other, monkeypatch):
    read = []
    fine_tune(str(saved / "model.ckpt-3"), other.entries)
    older = other.values()

    def sha256(path):
        read.append(path.name)
        return files.sha256(path)

    monkeypatch.setattr(manifest, "sha256", sha256)
    fine_tune(str(saved), other.entries)
    assert read == ["model.ckpt-12.index"], "the values are compared as they are read"
    data = saved / "model.ckpt-12.data-00000-of-00001"
    whole = data.read_bytes()
    for at in (3, len(whole) // 2, len(whole) - 3):
        data.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        report = fine_tune(str(saved), other.entries)
        assert report.prefix == str(saved / "model.ckpt-3")
        for name, value in other.values().items():
            np.testing.assert_array_equal(value, older[name])


def test_no_mixture_of_a_damaged_checkpoint_and_an_older_one(saved, state, other):
    more = tf.Variable(tf.zeros([100]))
    Store(str(saved)).save(20, [*state.entries, SavedTensor("a/new", more, None)], {})
    data = saved / "model.ckpt-20.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(
        CheckpointError, match=r"model.ckpt-12: a newer checkpoint is damaged, .* lacks a/new"
    ):
        fine_tune(str(saved), [*other.entries, SavedTensor("a/new", more, None)])


@pytest.mark.parametrize("name", ["model.ckpt-4", "none/model.ckpt-3"])
def test_a_prefix_that_is_not_there(saved, other, name):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        fine_tune(str(saved / name), other.entries)


def test_a_directory_without_checkpoints(tmp_path, other):
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        fine_tune(str(tmp_path), other.entries)


def test_what_is_missing_or_does_not_fit_keeps_its_values(saved):
    new = tf.Variable(tf.fill([5, 5], 3.0))
    odd = tf.Variable(tf.fill([2, 2], 4.0))
    report = fine_tune(str(saved), [SavedTensor("new/w", new, None), SavedTensor(KERNEL, odd, None)])
    assert report.restored == ()
    assert report.skipped["new/w"].startswith("new/w is not in the checkpoint")
    assert "shape [3, 2] in the checkpoint, [2, 2] in the model" in report.skipped[KERNEL]
    assert "force_restore_shape_compatible" in report.skipped[KERNEL]
    np.testing.assert_array_equal(new.numpy(), np.full([5, 5], 3.0))
    np.testing.assert_array_equal(odd.numpy(), np.full([2, 2], 4.0))
    assert KERNEL not in report.unused  # It has already been reported.
    lines = report.lines()
    assert f"  not restored   {KERNEL}: {report.skipped[KERNEL]}" in lines
    assert f"  unused         {KERNEL}/Adam: in the checkpoint only" in lines
    assert f"  unused         {AGE} and 2 slots: in the checkpoint only" in lines


def test_shapes_are_cut_and_filled_where_asked_for(saved, state):
    wanted = state.values()
    odd = tf.Variable(tf.fill([2, 3], 4.0))
    bank = tf.Variable(tf.fill([40, 4], 5.0))
    flat = tf.Variable(tf.fill([6], 6.0))
    entries = [
        SavedTensor(KERNEL, odd, None),
        SavedTensor(AGE, bank, (0, 15)),
        SavedTensor(CITY, bank, (15, 31)),
        SavedTensor(f"{KERNEL}/Adam", flat, None),
    ]
    report = fine_tune(str(saved), entries, force_shape=True)
    np.testing.assert_array_equal(odd.numpy(), np.pad(wanted[KERNEL][:2], [[0, 0], [0, 1]]))
    np.testing.assert_array_equal(bank.numpy()[:10], wanted[AGE])
    np.testing.assert_array_equal(bank.numpy()[10:15], np.zeros([5, 4]))
    np.testing.assert_array_equal(bank.numpy()[15:31], wanted[CITY][:16])
    np.testing.assert_array_equal(bank.numpy()[31:], np.full([9, 4], 5.0))
    assert set(report.reshaped) == {KERNEL, AGE, CITY}
    assert set(report.skipped) == {f"{KERNEL}/Adam"}  # another rank


def test_a_map_renames_and_slots_follow(saved, state, other, tmp_path):
    renamed = [SavedTensor(e.name.replace("deep/", "wide/").replace("/age", "/years"), e.variable, e.rows)
               for e in other.entries]  # fmt: skip
    path = tmp_path / "map"
    years = AGE.replace("age", "years")
    # A byte order mark, as editors put it at the head, and line ends with a carriage return.
    path.write_bytes(f"\ufeffwide/dnn_0/kernel\t{KERNEL}\r\n\n# comment\n{years}:0   {AGE}\n".encode())
    report = fine_tune(str(saved), renamed, str(path))
    assert report.skipped == {}
    assert report.renamed[f"{years}/Adam_1"] == f"{AGE}/Adam_1"
    assert f"  renamed        {years} and 2 slots: from {AGE}" in report.lines()
    wanted = state.values()
    for entry in other.entries:
        if entry.name != "global_step":
            np.testing.assert_array_equal(other.values()[entry.name], wanted[entry.name])


def test_every_problem_of_a_map_is_in_one_report(saved, other, tmp_path):
    path = tmp_path / "map"
    path.write_text(
        f"{KERNEL}\n"
        f"{KERNEL} {KERNEL}\n"
        f"{KERNEL} {AGE}\n"
        f"deep/dnn_0/kernle {KERNEL}\n"
        f"{CITY} deep/dnn_9/kernel\n"
        "a b c\n"
    )
    with pytest.raises(CheckpointError) as caught:
        fine_tune(str(saved), other.entries, str(path))
    text = str(caught.value)
    for part in (
        "5 problems",
        "line 1: expected 'name in this model<TAB>name in the checkpoint'",
        f"line 3: {KERNEL} is already mapped in line 2",
        f"line 4: this model has no variable deep/dnn_0/kernle (nearest: {KERNEL}",
        f"line 5: the checkpoint has no variable deep/dnn_9/kernel (nearest: {KERNEL}",
        "line 6: expected",
    ):
        assert part in text
    assert not np.any(other.values()[KERNEL])


def test_problems_are_only_reported_where_errors_are_ignored(saved, other, tmp_path):
    path = tmp_path / "map"
    path.write_text("nonsense\n")
    report = fine_tune(str(saved), other.entries, str(path), ignore_errors=True)
    assert set(report.skipped) == {"line 1"}
    assert other.values()[KERNEL].any()


def test_a_map_that_can_not_be_read(saved, other, tmp_path):
    with pytest.raises(CheckpointError, match=r"fine_tune_ckpt_var_map .*none: can't be read"):
        fine_tune(str(saved), other.entries, str(tmp_path / "none"))


def test_filters_leave_variables_out(saved, other):
    report = fine_tune(str(saved), other.entries, filters=["embedding_weights"])
    assert not other.values()[AGE].any()
    assert other.values()[KERNEL].any()
    assert report.skipped[AGE] == "excluded by restore_filters 'embedding_weights'"
