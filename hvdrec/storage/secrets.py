"""Keeps keys out of logs and messages."""

from __future__ import annotations

import os
import re

#: Environment variables with values that are never shown.
VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "OSS_ACCESS_KEY_SECRET",
    "OSS_SESSION_TOKEN",
    "OSS_STS_TOKEN",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "HVDREC_OSS_BUCKETS",
)
_SHORTEST = 6
_IN_TEXT = re.compile(
    r"(?i)\b((?:x-amz-signature|x-amz-security-token|signature|security-?token)=)[^&\s\"']+"
)
_known: set[str] = set()


def is_secret(variable: str) -> bool:
    """Whether an environment variable's value is never shown."""
    return variable in VARIABLES


def hide(value: str) -> None:
    """Hides this value in all later messages."""
    if len(value) >= _SHORTEST:
        _known.add(value)


def without_secrets(text: str) -> str:
    """The text with ``***`` in place of keys, tokens and signatures."""
    values = {os.environ.get(variable, "") for variable in VARIABLES} | _known
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return _IN_TEXT.sub(r"\1***", text)
