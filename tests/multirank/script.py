"""Runs a script, called as ``script.py PATH ARGUMENTS``, with TensorFlow imported as quickly as commands do."""

from __future__ import annotations

import os
import runpy
import sys

from hvdrec.commands.tensorflow_import import quicken_tensorflow_import

if __name__ == "__main__":
    quicken_tensorflow_import()
    del sys.argv[0]
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
