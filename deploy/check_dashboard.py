#!/usr/bin/env python3
"""Runs every query of grafana.json in a real Prometheus that scrapes a real server.

    deploy/check_dashboard.py ORRERY_BINARY [MODEL]

Wants `prometheus` (Debian: apt-get install prometheus) and nothing else but Python. Starts `orrery serve` on a data folder of its
own with a small model, sends it requests that succeed, fail and are refused, lets Prometheus scrape it twice a second, and
asks for each expression through Prometheus's HTTP API. Each must be accepted and give at least one number that is finite, and
each variable must have a value. Exits with 1 and the list of those that do not.
"""

import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
FIXTURE = HERE.parent / "fixtures/models/llama-q8_0.gguf"
SCRAPES_SECONDS = 12


def panels(items):
    for item in items:
        yield from panels(item.get("panels", []))
        for target in item.get("targets", []):
            yield item.get("title", "?"), target["expr"]


def call(url, key=None, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    if key:
        request.add_header("authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def until(what, is_so, seconds=60):
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {seconds} s")
        time.sleep(0.1)


def serve(binary, model, data):
    command = [binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", data, "--model", model, "--log", "text/error"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    url = next(line.split()[-1] for line in child.stdout if line.startswith("listening on "))
    until("the server", lambda: call(f"{url}/ready")[0] == 200)
    return child, url, (pathlib.Path(data) / "first.key").read_text().strip()


def load(url, key):
    """One of everything that the dashboard counts."""
    model = json.loads(call(f"{url}/v1/models", key)[1])["data"][0]["id"]
    chat = {"model": model, "messages": [{"role": "user", "content": "hello " * 40}], "max_tokens": 16, "ignore_eos": True}
    assert call(f"{url}/v1/chat/completions", key, chat)[0] == 200
    assert call(f"{url}/v1/chat/completions", "orr_none", chat)[0] == 401
    made = json.loads(call(f"{url}/v1/keys", key, {"role": "inference", "limits": {"requests_per_minute": 1}})[1])
    statuses = [call(f"{url}/v1/chat/completions", made["key"], chat)[0] for _ in range(3)]
    assert 429 in statuses, statuses


def free_port():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def prometheus(folder, url, key):
    port = free_port()
    config = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
        "scrape_configs": [
            {
                "job_name": "orrery",
                "authorization": {"credentials": key},
                "static_configs": [{"targets": [url.removeprefix("http://")]}],
            }
        ],
    }
    # JSON is YAML.
    file = pathlib.Path(folder) / "prometheus.yml"
    file.write_text(json.dumps(config))
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]
    child = subprocess.Popen(["prometheus", *arguments, "--log.level=error"])
    base = f"http://127.0.0.1:{port}"

    def is_ready():
        try:
            return call(f"{base}/-/ready")[0] == 200
        except OSError:
            return False

    until("prometheus", is_ready)
    return child, base


def query(base, expression):
    for variable in ("model", "instance", "tenant"):
        expression = expression.replace(f"${variable}", ".*")
    expression = expression.replace("$__rate_interval", "10s")
    _, body = call(f"{base}/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
    answer = json.loads(body)
    if answer["status"] != "success":
        return answer["error"]
    values = [float(series["value"][1]) for series in answer["data"]["result"]]
    return None if any(math.isfinite(value) for value in values) else f"no data ({len(values)} series)"


def variable(base, definition):
    metric, label = definition.removeprefix("label_values(").removesuffix(")").split(", ")
    _, body = call(f"{base}/api/v1/label/{label}/values?" + urllib.parse.urlencode({"match[]": metric}))
    return None if json.loads(body)["data"] else "no value"


def check(base, dashboard):
    problems, count = [], 0
    for title, expression in panels(dashboard["panels"]):
        count += 1
        problem = query(base, expression)
        print(f"{'ok  ' if problem is None else 'FAIL'} {title}: {expression}")
        problems += [f"{title}: {expression}: {problem}"] if problem else []
    for item in dashboard["templating"]["list"]:
        if item["type"] == "query":
            count += 1
            problem = variable(base, item["definition"])
            print(f"{'ok  ' if problem is None else 'FAIL'} ${item['name']}: {item['definition']}")
            problems += [f"${item['name']}: {problem}"] if problem else []
    return problems, count


def main():
    if len(sys.argv) < 2 or not shutil.which("prometheus"):
        sys.exit(__doc__)
    binary, model = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else str(FIXTURE)
    dashboard = json.loads((HERE / "grafana.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data")
        children = []
        try:
            server, url, key = serve(binary, model, data)
            children.append(server)
            scraper, base = prometheus(folder, url, key)
            children.append(scraper)
            end = time.monotonic() + SCRAPES_SECONDS
            while time.monotonic() < end:
                load(url, key)
                time.sleep(0.5)
            problems, count = check(base, dashboard)
        finally:
            for child in children:
                child.terminate()
                child.wait()
    if problems:
        sys.exit("\n".join(problems))
    print(f"{count} queries, each with data")


if __name__ == "__main__":
    main()
