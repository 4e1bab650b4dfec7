"""Run by tests with ``python -S``: loads exported models where nothing of hvdrec can be imported.

``bare_process.py SITE_PACKAGES predict JOB.json`` writes the outputs of each model of a job;
``bare_process.py SITE_PACKAGES predict_each -`` does it for each job whose path it reads, and answers with a line;
``bare_process.py SITE_PACKAGES serve FOLDER`` answers POST /v1/models/<name>:predict as TensorFlow
Serving's REST interface does (column form) on a free port of the loopback, which it prints.
"""

import http.server
import json
import os
import sys

sys.path.append(sys.argv[1])

import numpy as np
import tensorflow as tf


def check_bare():
    for name in ("hvdrec", "horovod"):
        if name in sys.modules:
            raise SystemExit(f"{name} is loaded")
    try:
        import hvdrec  # noqa: F401
    except ImportError:
        return
    raise SystemExit("hvdrec can be imported here")


def predict(path):
    with open(path) as file:
        models = json.load(file)
    for model in models:
        signature = tf.saved_model.load(model["folder"]).signatures["serving_default"]
        inputs = np.load(model["inputs"], allow_pickle=False)
        outputs = signature(**{n: tf.constant(inputs[n]) for n in inputs.files})
        found = {n: t.numpy() for n, t in outputs.items()}
        # Text as bytes of one width: arrays of objects would be pickled.
        found = {n: v.astype(np.bytes_) if v.dtype == object else v for n, v in found.items()}
        np.savez(model["outputs"], **found)


def predict_each(_):
    for line in sys.stdin:
        try:
            predict(line.strip())
            answer = "done"
        except Exception as error:
            answer = " ".join(f"{type(error).__name__}: {error}".split())
        print(answer, flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    model = None

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        specs = self.model.structured_input_signature[1]
        try:
            inputs = {n: tf.constant(v, specs[n].dtype) for n, v in body["inputs"].items()}
            answer, code = {n: t.numpy().tolist() for n, t in self.model(**inputs).items()}, 200
            answer = {"outputs": answer}
        except Exception as error:
            answer, code = {"error": str(error)}, 400
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def serve(folder):
    newest = max((v for v in os.listdir(folder) if v.isdigit()), key=int)
    Handler.model = tf.saved_model.load(os.path.join(folder, newest)).signatures["serving_default"]
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


check_bare()
{"predict": predict, "predict_each": predict_each, "serve": serve}[sys.argv[2]](sys.argv[3])
