"""oss:// uses OSS's settings, with a server that speaks S3's protocol with the bucket in the host name."""

import json
import sys
import types

import pytest
from storage.server import BUCKET, KEY, SECRET

from hvdrec import storage
from hvdrec.errors import StorageError
from hvdrec.storage import oss
from hvdrec.storage.secrets import without_secrets


@pytest.fixture
def none(store, monkeypatch, tmp_path):
    """No settings of OSS at all."""
    monkeypatch.setenv("OSSUTIL_CONFIG_FILE", str(tmp_path / "none"))
    return store.replace("s3://", "oss://")


def test_by_environment_variables(none, server, monkeypatch):
    monkeypatch.setenv("OSS_ENDPOINT", f"http://localhost:{server.partition(':')[2]}")
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", SECRET)
    storage.write_text(f"{none}/x", "text")
    assert storage.read_text(f"{none}/x") == "text"
    assert storage.listing(none) == {"x": 4}
    # It is the same bucket.
    assert storage.read_text(f"{none}/x".replace("oss://", "s3://")) == "text"


def test_by_ossutils_file(none, server, monkeypatch, tmp_path):
    path = tmp_path / "ossutilconfig"
    monkeypatch.setenv("OSSUTIL_CONFIG_FILE", str(path))
    path.write_text(
        f"[Credentials]\nlanguage=EN\nendpoint=http://localhost:{server.partition(':')[2]}\n"
        f"accessKeyID={KEY}\naccessKeySecret=of%the%file\n"
    )
    storage.write_text(f"{none}/x", "text")
    assert storage.read_text(f"{none}/x") == "text"
    assert "of%the%file" not in without_secrets("of%the%file")
    path.write_text("accessKeySecret=of%the%file without a section")
    with pytest.raises(StorageError, match="is not a valid ossutil configuration file") as caught:
        storage.read_text(f"{none}/x")
    assert "of%the%file" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "reached", "region"),
    [
        ("oss-cn-hangzhou.aliyuncs.com", "s3.oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        ("oss-cn-beijing-internal.aliyuncs.com", "s3.oss-cn-beijing-internal.aliyuncs.com", "cn-beijing"),
        ("s3.oss-us-west-1.aliyuncs.com", "s3.oss-us-west-1.aliyuncs.com", "us-west-1"),
        ("files.example.com", "files.example.com", "us-east-1"),
    ],
)
def test_endpoints(host, reached, region):
    assert oss.s3_host(host) == reached
    assert oss.region_of(host) == region


def test_what_is_missing_is_said(none, monkeypatch):
    with pytest.raises(StorageError, match="oss://bucket: no endpoint is set; set OSS_ENDPOINT"):
        storage.read_text(f"{none}/x")
    monkeypatch.setenv("OSS_ENDPOINT", "localhost:1")
    with pytest.raises(StorageError, match="no keys are set; set OSS_ACCESS_KEY_ID"):
        storage.read_text(f"{none}/x")
    monkeypatch.setenv(oss.BUCKETS_VARIABLE, "[1]")
    with pytest.raises(StorageError, match="HVDREC_OSS_BUCKETS: is not a JSON object"):
        storage.read_text(f"{none}/x")


def test_a_role_needs_the_extra(none, monkeypatch):
    monkeypatch.setenv("OSS_ENDPOINT", "localhost:1")
    monkeypatch.setenv(oss.ROLE_VARIABLE, "acs:ram::1:role/secret")
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials.client", None)
    with pytest.raises(StorageError, match="extra oss; run pip install alibabacloud-credentials") as caught:
        storage.read_text(f"{none}/x")
    assert "role/secret" not in str(caught.value)


def test_a_roles_keys_are_taken_and_renewed(none, server, monkeypatch):
    """With a fake of the package: the requests to it, and the handling of its answers."""
    asked = []

    class Client:
        def __init__(self, config):
            self.config = config

        def get_credential(self):
            asked.append(self.config)
            names = {
                "access_key_id": KEY,
                "access_key_secret": "of-the-role",
                "security_token": "token-of-it",
            }
            return types.SimpleNamespace(**names)

    client = types.SimpleNamespace(Client=Client)
    models = types.SimpleNamespace(Config=lambda **fields: fields)
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials", types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials.client", client)
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials.models", models)
    monkeypatch.setattr(oss, "_roles", {})
    host = f"http://localhost:{server.partition(':')[2]}"
    own = {BUCKET: {"host": host, "role_arn": "acs:ram::1:role/x"}}
    monkeypatch.setenv(oss.BUCKETS_VARIABLE, json.dumps(own))
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", SECRET)
    storage.write_text(f"{none}/x", "text")
    assert storage.read_text(f"{none}/x") == "text"
    assert len(asked) == 1
    assert asked[0]["role_arn"] == "acs:ram::1:role/x"
    assert asked[0]["type"] == "ram_role_arn"
    assert without_secrets("of-the-role token-of-it acs:ram::1:role/x") == "*** *** ***"
    monkeypatch.setattr(oss, "_REFRESH_SECONDS", -1.0)
    monkeypatch.setattr(oss, "_roles", {})
    for _ in range(2):
        assert storage.read_text(f"{none}/x") == "text"
    assert len(asked) > 2
