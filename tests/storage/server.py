"""Servers of stores on loopback, S3's and Google's, and a proxy in front of them with configurable failures."""

import collections
import contextlib
import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
import time

from hvdrec.launcher.ports import free_ports

BUCKET = "bucket"
KEY, SECRET = "AKIAHVDRECTEST", "a-secret-key-of-the-tests"
_SLOW_DOWN = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
_DENIED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


@contextlib.contextmanager
def s3_server():
    """Runs moto's server with a bucket; returns its address."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("PUT", f"/{BUCKET}")
        assert connection.getresponse().status == 200
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


#: The emulator answers one request at a time; Arrow's client leaves answers open while it asks for more.
_EMULATOR = """
import http.server, sys
from gcp_storage_emulator import server
server.server.HTTPServer = http.server.ThreadingHTTPServer
server.create_server("127.0.0.1", int(sys.argv[1]), in_memory=True, default_bucket=sys.argv[2]).run()
"""


@contextlib.contextmanager
def gcs_server():
    """Runs an emulator of Google's store with a bucket; returns its address."""
    (port,) = free_ports(1)
    with subprocess.Popen(
        [sys.executable, "-c", _EMULATOR, str(port), BUCKET],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_for(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def _wait_for(port, process):
    for _ in range(600):
        assert process.poll() is None, "the server has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError("the server doesn't answer")


class Proxy:
    """Forwards requests to the server, except those that are set to fail.

    Attributes:
        address: host:port.
        requests: "METHOD /path" of all requests so far.
        sent: Bytes that answers to GETs had, by path.
    """

    def __init__(self, server):
        self._server = server
        self._faults = []
        self._lock = threading.Lock()
        self.requests = []
        self.sent = collections.Counter()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def _handle(self):
                proxy.handle(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle  # noqa: N815

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def fail(self, kind, times=1, method="", match="", skip=0):
        """Lets requests fail: `slow_down`, `denied`, `reset`, `cut` or `stall`.

        `skip` fitting requests pass first; `times` None is for ever (until `heal`).
        """
        with self._lock:
            self._faults.append(
                {"kind": kind, "times": times, "method": method, "match": match, "skip": skip}
            )

    def heal(self):
        """All requests pass again."""
        with self._lock:
            self._faults.clear()

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    def handle(self, request):
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length) if length else b""
        kind = self._fault(request.command, request.path)
        request.close_connection = True
        if kind == "reset":
            return request.connection.close()
        if kind == "stall":
            time.sleep(4)
            return request.connection.close()
        if kind in ("slow_down", "denied"):
            text = _SLOW_DOWN if kind == "slow_down" else _DENIED
            return self._answer(request, 503 if kind == "slow_down" else 403, {}, text, len(text))
        connection = http.client.HTTPConnection(self._server, timeout=60)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("expect", "connection")}
        connection.request(request.command, request.path, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        size = int(answer.headers.get("Content-Length") or len(content))
        if kind == "cut":
            content = content[: len(content) // 2]
        if request.command == "GET":
            with self._lock:
                self.sent[request.path.partition("?")[0]] += len(content)
        return self._answer(request, answer.status, answer.headers, content, size)

    def _fault(self, method, path):
        with self._lock:
            self.requests.append(f"{method} {path}")
            for fault in self._faults:
                if fault["method"] not in ("", method) or fault["match"] not in path:
                    continue
                if fault["skip"] > 0:
                    fault["skip"] -= 1
                    continue
                if fault["times"] is None:
                    return fault["kind"]
                if fault["times"] > 0:
                    fault["times"] -= 1
                    return fault["kind"]
        return None

    @staticmethod
    def _answer(request, status, headers, content, size):
        with contextlib.suppress(OSError):
            request.send_response(status)
            for name, value in headers.items():
                if name.lower() not in (
                    "content-length",
                    "connection",
                    "transfer-encoding",
                    "date",
                    "server",
                ):
                    request.send_header(name, value)
            request.send_header("Content-Length", str(size))
            request.send_header("Connection", "close")
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(content)


def environment(address, **more):
    """The variables by which a process reaches the server."""
    return {
        **{
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("AWS_", "OSS_", "ALIBABA_", "HVDREC_STORE"))
        },
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        **more,
    }
