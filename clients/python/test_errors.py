"""Errors become the client's exceptions, and what can be retried is."""

import time
import urllib.error
import urllib.request

import openai
from base import API_KEY, BASE_URL, HEADERS, Case, FailingProxy, client


class Errors(Case):
    def bad(self, param, **options):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat(**options)
        self.assertEqual(caught.exception.status_code, 400)
        self.assertEqual(caught.exception.param, param)
        self.assertEqual(caught.exception.type, "invalid_request_error")
        self.assertTrue(caught.exception.request_id)

    def test_bad_values_name_their_field(self):
        self.bad("temperature", temperature=3)
        self.bad("n", n=17)
        self.bad("top_logprobs", logprobs=True, top_logprobs=21)
        self.bad("max_tokens", max_tokens=0)
        self.bad("stop", stop=["a", "b", "c", "d", "e"])
        self.bad("messages[0].content[0].type", text=[{"type": "image_url", "image_url": {"url": "http://x/y.png"}}])

    def test_what_is_not_built_is_refused(self):
        self.bad("response_format", response_format={"type": "json_object"})
        self.bad("tools", tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])

    def test_too_long_a_prompt(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.chat("word " * 200_000)
        self.assertEqual(caught.exception.status_code, 400)

    def test_too_large_a_body(self):
        with self.assertRaises(openai.APIStatusError) as caught:
            self.chat("x" * 5_000_000)
        self.assertEqual(caught.exception.status_code, 413)

    def test_unknown_model(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.chat.completions.create(model="no-such", messages=[{"role": "user", "content": "x"}])
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("no-such")

    def test_a_wrong_key(self):
        for key in ("", "unused", API_KEY[:-1] + "!"):
            with self.assertRaises(openai.AuthenticationError) as caught:
                client(api_key=key or "x").models.list()
            self.assertEqual(caught.exception.code, "invalid_api_key")

    def test_embeddings_are_not_built(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.embeddings.create(model=self.model, input="x")
        self.assertEqual(caught.exception.code, "unknown_url")

    def test_broken_json(self):
        request = urllib.request.Request(f"{BASE_URL}/v1/chat/completions", b'{"model": ', HEADERS)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        self.assertEqual(caught.exception.code, 400)
        self.assertIn(b"line 1 column", caught.exception.read())
        caught.exception.close()

    def test_models(self):
        self.assertEqual(self.client.models.retrieve(self.model).id, self.model)


class Retries(Case):
    def test_busy_then_well(self):
        for status in (429, 503):
            failures = [(status, {"retry-after-ms": "300"}), (status, {"retry-after-ms": "1"})]
            with FailingProxy(failures) as proxy:
                asked = time.monotonic()
                answer = client(base_url=proxy.base_url, max_retries=2).chat.completions.create(
                    model=self.model, messages=[{"role": "user", "content": "Hi"}], max_tokens=2
                )
            self.assertTrue(answer.choices)
            self.assertEqual(proxy.seen, 3)
            self.assertGreaterEqual(time.monotonic() - asked, 0.3)

    def test_no_retry_after_a_bad_request(self):
        with FailingProxy([(400, {})]) as proxy:
            with self.assertRaises(openai.BadRequestError):
                client(base_url=proxy.base_url, max_retries=2).completions.create(model=self.model, prompt="x")
        self.assertEqual(proxy.seen, 1)
