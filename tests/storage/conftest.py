import os
import uuid

import pytest
from storage import server as servers

from hvdrec.storage import retries


@pytest.fixture(scope="session")
def server():
    for package in ("moto", "flask", "flask_cors"):
        pytest.importorskip(package, reason=f"{package} isn't installed: make build")
    with servers.s3_server() as address:
        yield address


@pytest.fixture
def proxy(server):
    proxy = servers.Proxy(server)
    yield proxy
    proxy.close()


@pytest.fixture
def store(server, monkeypatch, tmp_path_factory):
    """A separate folder in the store, accessible from this process."""
    work = str(tmp_path_factory.mktemp("ranges"))
    return _reached(server, monkeypatch, HVDREC_STORE_PATIENCE="20", HVDREC_WORK_DIR=work)


@pytest.fixture
def shaky(proxy, monkeypatch, tmp_path_factory):
    """The same through the proxy, with little patience."""
    work = str(tmp_path_factory.mktemp("ranges"))
    more = {"HVDREC_STORE_PATIENCE": "20", "HVDREC_STORE_TIMEOUT": "1", "HVDREC_WORK_DIR": work}
    return _reached(proxy.address, monkeypatch, **more)


def _reached(address, monkeypatch, **more):
    wanted = servers.environment(address, **more)
    for name in set(os.environ) - set(wanted):
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retries, "_given_up", set())
    return f"s3://{servers.BUCKET}/{uuid.uuid4().hex[:8]}"
