"""Alibaba's object storage: where its users keep address and keys."""

from __future__ import annotations

import configparser
import dataclasses
import importlib
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

from hvdrec.errors import StorageError
from hvdrec.storage.secrets import hide

#: JSON, bucket -> {"host", "role_arn"}: what `-Dbuckets` of the PAI form says.
BUCKETS_VARIABLE = "HVDREC_OSS_BUCKETS"
ROLE_VARIABLE = "ALIBABA_CLOUD_ROLE_ARN"
ENDPOINT_VARIABLE = "OSS_ENDPOINT"
_CONFIG_VARIABLE = "OSSUTIL_CONFIG_FILE"
_REFRESH_SECONDS = 600.0
_PUBLIC = re.compile(r"oss-([a-z0-9-]+?)(-internal)?\.aliyuncs\.com")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to reach a bucket.

    Attributes:
        endpoint: As ``oss-cn-hangzhou.aliyuncs.com``, maybe with ``https://``.
        region: As ``cn-hangzhou``; empty where the endpoint says it.
        key: Access key id.
        secret: Its secret.
        token: Of temporary keys.
    """

    endpoint: str
    region: str
    key: str
    secret: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(repr=False)


def settings(bucket: str) -> Settings:
    """Address and keys of a bucket, from environment variables, else from ``~/.ossutilconfig``.

    Raises:
        StorageError: One of them is missing, or a role can't be taken.
    """
    own = _of_bucket(bucket)
    file = _config_file()
    endpoint = own.get("host") or _first(ENDPOINT_VARIABLE) or file.get("endpoint", "")
    if not endpoint:
        raise StorageError(
            f"oss://{bucket}: no endpoint is set; set {ENDPOINT_VARIABLE} (as oss-cn-hangzhou.aliyuncs.com) "
            "or endpoint in ~/.ossutilconfig"
        )
    region = _first("OSS_REGION") or file.get("region", "")
    role = own.get("role_arn") or os.environ.get(ROLE_VARIABLE, "")
    if role:
        return Settings(endpoint, region, *_role_keys(role))
    key = _first("OSS_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID") or file.get("accesskeyid", "")
    secret = _first("OSS_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    secret = secret or file.get("accesskeysecret", "")
    token = _first("OSS_SESSION_TOKEN", "OSS_STS_TOKEN", "ALIBABA_CLOUD_SECURITY_TOKEN")
    token = token or file.get("ststoken", "")
    if not key or not secret:
        raise StorageError(
            f"oss://{bucket}: no keys are set; set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or write "
            "~/.ossutilconfig (`ossutil config`)"
        )
    hide(secret)
    hide(token)
    return Settings(endpoint, region, key, secret, token)


def s3_host(host: str) -> str:
    """The host that speaks S3's protocol for a public or internal endpoint of OSS."""
    return f"s3.{host}" if _PUBLIC.fullmatch(host) else host


def region_of(host: str) -> str:
    """The region that an endpoint names; us-east-1, which stands for none, where it names none."""
    found = _PUBLIC.fullmatch(host.removeprefix("s3."))
    return found[1] if found else "us-east-1"


def parse_buckets(written: str) -> dict[str, dict[str, str]]:
    """`HVDREC_OSS_BUCKETS` as it should be.

    Raises:
        StorageError: It isn't.
    """
    try:
        found = json.loads(written or "{}")
        return {str(b): {str(k): str(v) for k, v in own.items()} for b, own in found.items()}
    except (ValueError, AttributeError, RecursionError):
        raise StorageError(f"{BUCKETS_VARIABLE}: is not a JSON object of objects") from None


def _of_bucket(bucket: str) -> dict[str, str]:
    return parse_buckets(os.environ.get(BUCKETS_VARIABLE, "")).get(bucket, {})


def _first(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _config_file() -> dict[str, str]:
    """The section [Credentials] (or [default]) of ossutil's file; nothing where there is none."""
    path = os.environ.get(_CONFIG_VARIABLE) or str(Path.home() / ".ossutilconfig")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        # Its text may hold keys.
        raise StorageError(f"{path}: can't be read as a file of ossutil") from None
    for section in ("Credentials", "default"):
        if parser.has_section(section):
            return dict(parser.items(section))
    return {}


_roles: dict[str, tuple[Any, float, tuple[str, str, str]]] = {}
_roles_lock = threading.Lock()


def _role_keys(role: str) -> tuple[str, str, str]:
    """Temporary keys of a RAM role, renewed well before they end."""
    with _roles_lock:
        client, until, keys = _roles.get(role, (None, 0.0, ("", "", "")))
        if time.monotonic() < until:
            return keys
        client = client or _role_client(role)
        try:
            found = client.get_credential()
            keys = (found.access_key_id, found.access_key_secret, found.security_token)
        except Exception as error:
            # The service's answers may name the role and the key: neither is shown.
            raise StorageError(f"the RAM role can't be taken ({type(error).__name__})") from None
        for value in keys[1:]:
            hide(value or "")
        _roles[role] = (client, time.monotonic() + _REFRESH_SECONDS, keys)
        return keys


def _role_client(role: str) -> Any:
    hide(role)
    try:
        client = importlib.import_module("alibabacloud_credentials.client")
        models = importlib.import_module("alibabacloud_credentials.models")
    except ImportError:
        raise StorageError(
            "a RAM role (-Darn, role_arn) needs the extra oss: pip install alibabacloud-credentials; or give "
            "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET and no role"
        ) from None
    token_file = _first("ALIBABA_CLOUD_OIDC_TOKEN_FILE")
    common = {"role_arn": role, "role_session_name": "hvdrec"}
    if token_file:
        provider = _first("ALIBABA_CLOUD_OIDC_PROVIDER_ARN")
        return client.Client(
            models.Config(
                type="oidc_role_arn", oidc_token_file_path=token_file, oidc_provider_arn=provider, **common
            )
        )
    file = _config_file()
    key = _first("OSS_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID") or file.get("accesskeyid", "")
    secret = _first("OSS_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    secret = secret or file.get("accesskeysecret", "")
    if not key or not secret:
        raise StorageError("a RAM role is taken with keys: set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET")
    hide(secret)
    return client.Client(
        models.Config(type="ram_role_arn", access_key_id=key, access_key_secret=secret, **common)
    )
