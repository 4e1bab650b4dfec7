"""Which of EasyRec's sample configs can be used, and what is refused in the others."""

from __future__ import annotations

import pytest
from sample_configs import FOLDER, REFUSED, listed_as_refused, names, refusals

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="EasyRec's sample configs are in ../shared, which isn't there"
)
ANEW = f"write tests/{REFUSED.name} anew: PYTHONPATH=.:tests .venv/bin/python tests/sample_configs.py"


def test_the_refused_samples_are_those_listed():
    listed = listed_as_refused()
    found = {name: why for name in names() if (why := refusals(name))}
    usable = sorted(listed.keys() - found.keys())
    assert not usable, f"can be used now, {ANEW}"
    broken = {name: why for name, why in found.items() if name not in listed}
    assert not broken, "could be used before"
    others = {name: why for name, why in found.items() if listed[name] not in why}
    assert not others, f"are refused for another reason, {ANEW}"
