"""A fake of MaxCompute's tunnel with only the requests that pyodps makes to download a table.

Requests, sessions, row ranges and the framing of Arrow batches with their checksums are as pyodps'
own client sends and reads them (odps/tunnel/tabletunnel.py, odps/tunnel/io/reader.py).
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import struct
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa

KEY, SECRET = "standin-key", "standin-secret"
_CHUNK = 4096
_TYPES = {pa.int64(): "bigint", pa.string(): "string", pa.float64(): "double", pa.bool_(): "boolean"}
_TYPES |= {pa.float32(): "float", pa.list_(pa.int64()): "array<bigint>"}


class Tunnel:
    """The service: tables by (name, partition), and the failures to produce.

    Attributes:
        tables: (table, partition or "") -> its rows.
        requests: What was asked for, as (action, query).
        faults: Taken one by one by the requests for rows: "503", "cut" or "checksum".
        lost_sessions: How many requests for a session answer 500 first.
    """

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], pa.Table] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.faults: list[str] = []
        self.lost_sessions = 0
        self.address = ""

    def session(self, table: str, partition: str) -> dict[str, Any] | None:
        rows = self.tables.get((table, partition))
        if rows is None:
            return None
        keys = [part.partition("=")[0] for part in partition.split(",") if part]
        return {
            "DownloadID": f"{table}|{partition}",
            "Status": "NORMAL",
            "RecordCount": rows.num_rows,
            "Schema": {
                "IsVirtualView": False,
                "columns": [{"name": f.name, "type": _TYPES[f.type], "nullable": True} for f in rows.schema],
                "partitionKeys": [{"name": key, "type": "string"} for key in keys],
            },
        }

    def rows(self, session: str, row_range: str, columns: str) -> bytes:
        table, _, partition = session.partition("|")
        first, count = (int(text) for text in re.findall(r"\d+", row_range))
        found = self.tables[table, partition].slice(first, count)
        # The tunnel keeps the table's own order of columns.
        chosen = columns.split(",") if columns else found.schema.names
        found = found.select([name for name in found.schema.names if name in chosen])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, found.schema) as writer:
            writer.write_table(found, max_chunksize=997)
        # The schema doesn't travel: the client has it from the session.
        return sink.getvalue().to_pybytes()[len(found.schema.serialize().to_pybytes()) :]


def framed(data: bytes) -> bytes:
    """Chunks with a checksum of each, and of all behind the last, which is shorter."""
    from odps.tunnel.checksum import Checksum

    total, parts = Checksum(), [struct.pack("!I", _CHUNK)]
    for start in range(0, len(data) + 1, _CHUNK):
        chunk = data[start : start + _CHUNK]
        own = Checksum()
        own.update(chunk)
        total.update(chunk)
        last = len(chunk) < _CHUNK
        parts += [chunk, struct.pack("!I", int((total if last else own).getvalue()) & 0xFFFFFFFF)]
    return b"".join(parts)


@contextlib.contextmanager
def tunnel() -> Iterator[Tunnel]:
    """Runs the stand-in on a free port of this machine."""
    state = Tunnel()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer()

        def answer(self) -> None:
            url = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
            if not self.headers.get("Authorization", "").startswith(f"ODPS {KEY}:"):
                return self.error(401, "Unauthorized", "The request's key is unknown.")
            found = re.fullmatch(r"/projects/(\w+)/(tunnel|tables/(\w+))", unquote(url.path))
            if not found or found[1] != "project":
                return self.error(404, "NoSuchProject", "There is no such project.")
            if found[2] == "tunnel":
                return self.send(200, state.address.encode())
            if "downloads" in query or ("downloadid" in query and "data" not in query):
                state.requests.append(("session", query))
                if state.lost_sessions:
                    state.lost_sessions -= 1
                    return self.error(500, "InternalServerError", "Try again.")
                session = state.session(found[3], query.get("partition", ""))
                if session is None:
                    return self.error(404, "NoSuchObject", "There is no such table or partition.")
                return self.send(200, json.dumps(session).encode())
            state.requests.append(("rows", query))
            data = framed(state.rows(query["downloadid"], query["rowrange"], query.get("columns", "")))
            fault = state.faults.pop(0) if state.faults else ""
            if fault == "503":
                return self.error(503, "ServiceUnavailable", "Try again.")
            if fault == "checksum":
                data = data[:100] + bytes([data[100] ^ 1]) + data[101:]
            return self.send(200, data, half=fault == "cut")

        def send(self, status: int, body: bytes, half: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-odps-request-id", "1")
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if half else body)
            self.close_connection = half

        def error(self, status: int, code: str, message: str) -> None:
            text = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>1</RequestId>"
            self.send(status, f"{text}<HostId>h</HostId></Error>".encode())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
