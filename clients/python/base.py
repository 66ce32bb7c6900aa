"""What the suites share: the client, the model, the metrics and a proxy that fails on purpose."""

import http.server
import json
import os
import threading
import time
import unittest
import urllib.request

import openai

BASE_URL = os.environ["ORRERY_BASE_URL"].rstrip("/")
API_KEY = os.environ["ORRERY_API_KEY"]
# For routes that the openai package does not know.
HEADERS = {"authorization": f"Bearer {API_KEY}", "content-type": "application/json"}


def client(**options):
    options.setdefault("base_url", f"{BASE_URL}/v1")
    options.setdefault("api_key", API_KEY)
    options.setdefault("max_retries", 0)
    options.setdefault("timeout", 120)
    return openai.OpenAI(**options)


def async_client():
    return openai.AsyncOpenAI(base_url=f"{BASE_URL}/v1", api_key=API_KEY, max_retries=0, timeout=300)


def gauge(name):
    """The sum of a metric over all models."""
    with urllib.request.urlopen(urllib.request.Request(f"{BASE_URL}/metrics", headers=HEADERS)) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


def post(path, body):
    """A route that the openai package does not know."""
    request = urllib.request.Request(BASE_URL + path, json.dumps(body).encode(), HEADERS)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def wait_until(condition, seconds=10):
    """Polls a condition of another process; false when it does not come about."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = client()
        cls.model = cls.client.models.list().data[0].id

    def chat(self, text="Say hello.", **options):
        options.setdefault("max_tokens", 12)
        messages = [{"role": "user", "content": text}]
        return self.client.chat.completions.create(model=self.model, messages=messages, **options)

    def complete(self, prompt="Once upon a time", **options):
        options.setdefault("max_tokens", 12)
        return self.client.completions.create(model=self.model, prompt=prompt, **options)


class FailingProxy:
    """Answers the first requests with a failure each, then passes them on to the server."""

    def __init__(self, failures):
        self.failures = list(failures)
        self.seen = 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                proxy.seen += 1
                if proxy.failures:
                    status, headers = proxy.failures.pop(0)
                    self.answer(status, headers, b'{"error":{"message":"busy","type":"x","param":null,"code":null}}')
                    return
                request = urllib.request.Request(BASE_URL + self.path, body, HEADERS)
                with urllib.request.urlopen(request) as answer:
                    self.answer(answer.status, {"content-type": "application/json"}, answer.read())

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"
