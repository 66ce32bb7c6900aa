"""Chat completions through the openai package."""

import math

from base import Case


class Chat(Case):
    def test_whole_answer(self):
        answer = self.chat()
        self.assertTrue(answer.id.startswith("chatcmpl-"))
        self.assertEqual(answer.object, "chat.completion")
        self.assertEqual(answer.model, self.model)
        choice = answer.choices[0]
        self.assertEqual(choice.message.role, "assistant")
        self.assertTrue(choice.message.content)
        self.assertIn(choice.finish_reason, ("stop", "length"))
        usage = answer.usage
        self.assertGreater(usage.prompt_tokens, 0)
        self.assertLessEqual(usage.completion_tokens, 12)
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        self.assertGreaterEqual(usage.prompt_tokens_details.cached_tokens, 0)

    def test_stream_equals_whole(self):
        whole = self.chat(temperature=0, max_tokens=24).choices[0]
        stream = self.chat(temperature=0, max_tokens=24, stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        self.assertEqual(len({chunk.id for chunk in chunks}), 1)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual([c for c in chunks[1:] if c.choices and c.choices[0].delta.role], [])
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, whole.message.content)
        finishes = [chunk.choices[0] for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
        self.assertEqual([choice.finish_reason for choice in finishes], [whole.finish_reason])
        self.assertIsNone(finishes[0].delta.content)
        self.assertEqual(chunks[-1].choices, [])
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)
        self.assertTrue(all(chunk.usage is None for chunk in chunks[:-1]))

    def test_stream_without_usage(self):
        chunks = list(self.chat(stream=True))
        self.assertTrue(all(chunk.usage is None and chunk.choices for chunk in chunks))

    def test_choices(self):
        answer = self.chat(n=3, temperature=1, seed=7)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2])
        self.assertGreater(len({choice.message.content for choice in answer.choices}), 1)
        texts = {0: "", 1: "", 2: ""}
        for chunk in self.chat(n=3, temperature=1, seed=7, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        self.assertEqual(list(texts.values()), [choice.message.content for choice in answer.choices])

    def test_seed(self):
        once, again, other = (self.chat(temperature=1.2, seed=seed, max_tokens=24) for seed in (5, 5, 6))
        text = lambda answer: answer.choices[0].message.content
        self.assertEqual(text(once), text(again))
        self.assertNotEqual(text(once), text(other))

    def test_stop(self):
        whole = self.chat(temperature=0, max_tokens=24).choices[0].message.content
        stop = whole[4:7]
        cut = self.chat(temperature=0, max_tokens=24, stop=[stop]).choices[0]
        self.assertEqual(cut.message.content, whole[: whole.index(stop)])
        self.assertEqual(cut.finish_reason, "stop")
        streamed = self.chat(temperature=0, max_tokens=24, stop=stop, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
        self.assertEqual(text, cut.message.content)

    def test_logprobs(self):
        answer = self.chat(temperature=0, logprobs=True, top_logprobs=3).choices[0]
        self.assertTrue(answer.logprobs.content)
        for token in answer.logprobs.content:
            self.assertLessEqual(token.logprob, 0)
            self.assertEqual(len(token.top_logprobs), 3)
            values = [top.logprob for top in token.top_logprobs]
            self.assertEqual(values, sorted(values, reverse=True))
            self.assertLessEqual(sum(map(math.exp, values)), 1 + 1e-4)
            # Greedy: the chosen token is the best one.
            self.assertEqual(token.logprob, values[0])
        spoken = b"".join(bytes(token.bytes) for token in answer.logprobs.content)
        self.assertIn(answer.message.content.encode(), spoken)
        streamed = [
            token.logprob
            for chunk in self.chat(temperature=0, logprobs=True, top_logprobs=3, stream=True)
            for choice in chunk.choices
            if choice.logprobs
            for token in choice.logprobs.content
        ]
        self.assertEqual(streamed, [token.logprob for token in answer.logprobs.content])

    def test_parts_and_roles(self):
        parts = [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]
        for role in ("system", "developer"):
            messages = [{"role": role, "content": "Be brief."}, {"role": "user", "content": parts}]
            answer = self.client.chat.completions.create(model=self.model, messages=messages, max_tokens=4)
            self.assertTrue(answer.choices[0].message.content)

    def test_max_completion_tokens(self):
        answer = self.chat(max_tokens=None, max_completion_tokens=3, extra_body={"ignore_eos": True})
        self.assertEqual(answer.usage.completion_tokens, 3)
        self.assertEqual(answer.choices[0].finish_reason, "length")

    def test_headers(self):
        messages = [{"role": "user", "content": "Hi"}]
        raw = self.client.chat.completions.with_raw_response.create(model=self.model, messages=messages, max_tokens=1)
        self.assertTrue(raw.headers["x-request-id"])
        self.assertGreaterEqual(int(raw.headers["openai-processing-ms"]), 0)
        for kind in ("requests", "tokens"):
            for what in ("limit", "remaining", "reset"):
                self.assertIn(f"x-ratelimit-{what}-{kind}", raw.headers)
