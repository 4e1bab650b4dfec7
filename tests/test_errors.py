"""The report of an unexpected exception."""

from __future__ import annotations

import errno
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.checkpoint import files
from hvdrec.commands.main import main
from hvdrec.errors import UserError, words


def _raised(work) -> Exception:
    with pytest.raises(Exception) as caught:
        work()
    return caught.value


@tf.function(autograph=False)
def _check(values: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.assert_less(values, 5, "a value is too large")]):
        return tf.identity(values)


@tf.function(autograph=False)
def _gather(rows: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(
        lambda i, _: i < 1, lambda i, x: (i + 1, x + tf.gather(tf.zeros([3]), rows)), [0, tf.zeros([1])]
    )[1]


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: _check(tf.constant([7])), "a value is too large"),
        (lambda: _gather(tf.constant([9])), "indices[0] = 9 is not in [0, 3)"),
        (lambda: tf.matmul(tf.zeros([2, 3]), tf.zeros([2, 3])), "Matrix size-incompatible"),
        (lambda: np.zeros(3) @ np.zeros(4), "mismatch"),
        (lambda: {}["nowhere"], "nowhere"),
        (lambda: [][1], "list index out of range"),
        (
            lambda: (_ for _ in ()).throw(ValueError("first\nthe second line says it")),
            "the second line says it",
        ),
    ],
)
def test_the_cause_is_told_on_one_line(work, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = _raised(work)
    assert said in words(error)
    assert main(lambda _: None, lambda _: work(), []) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    for noise in ("Graph execution error", "{{", "[Op:", "Detected at", 'File "', "successful operations"):
        assert noise not in line


def test_one_without_words_has_its_type() -> None:
    assert words(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert words(ValueError("")) == "ValueError"


def test_a_disk_that_takes_no_more_is_no_mistake_of_the_users(tmp_path: pathlib.Path) -> None:
    """Exit code 1, and TensorFlow's words without its nodes."""

    def save() -> None:
        with files.explained("can't save model.ckpt-3"):
            tf.raw_ops.SaveV2(
                prefix=str(tmp_path / "file/model.ckpt-3"),
                tensor_names=["a"],
                shape_and_slices=[""],
                tensors=[tf.zeros([1])],
            )

    (tmp_path / "file").write_text("")
    for error in (_raised(save), _raised(lambda: _full())):
        assert isinstance(error, UserError)
        assert error.exit_code == 1
        assert "{{" not in str(error)
        assert "can't save model.ckpt-3: " in str(error)


def _full() -> None:
    with files.explained("can't save model.ckpt-3"):
        raise OSError(errno.ENOSPC, "No space left on device")
