"""Lets this environment's MPI run without `activate`; copied into site-packages and imported at each start.

PyPI's Open MPI is located by OPAL_PREFIX, and `horovodrun` looks for `mpirun` in PATH: both follow
from where this Python is. What the user has set stays.
"""

import os
import sys

_bin = os.path.join(sys.prefix, "bin")
if os.path.exists(os.path.join(_bin, "mpirun")):
    os.environ.setdefault("OPAL_PREFIX", sys.prefix)
    if _bin not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join(filter(None, (_bin, os.environ.get("PATH"))))

# It would import TensorFlow in another process to know what Horovod was compiled with, for two seconds.
# The set-up of this environment has made sure of both. `--check-build` still asks for the rest.
if "horovodrun" in map(os.path.basename, sys.orig_argv[:2]):
    from horovod.common import util

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    util.mpi_built = util.gloo_built = lambda verbose=False: True
