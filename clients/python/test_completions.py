"""Text completions through the openai package."""

from base import Case, post


class Completions(Case):
    def test_whole_and_streamed(self):
        whole = self.complete(temperature=0)
        self.assertTrue(whole.id.startswith("cmpl-"))
        chunks = list(self.complete(temperature=0, stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
        self.assertEqual(text, whole.choices[0].text)
        self.assertEqual(chunks[-1].usage.completion_tokens, whole.usage.completion_tokens)

    def test_default_length(self):
        answer = self.client.completions.create(model=self.model, prompt="One two", extra_body={"ignore_eos": True})
        self.assertEqual(answer.usage.completion_tokens, 16)

    def test_many_prompts(self):
        prompts = ["The sky is", "Water is", "Fire is"]
        together = self.complete(prompts, temperature=0, n=1)
        alone = [self.complete(prompt, temperature=0).choices[0].text for prompt in prompts]
        self.assertEqual([choice.text for choice in together.choices], alone)

    def test_tokens_and_text_are_the_same_prompt(self):
        tokens = post("/tokenize", {"model": self.model, "prompt": "Once upon a time"})
        of_tokens = self.complete(tokens["tokens"], temperature=0).choices[0].text
        self.assertEqual(of_tokens, self.complete(temperature=0).choices[0].text)
        text = post("/detokenize", {"model": self.model, "tokens": tokens["tokens"]})
        self.assertEqual(text["prompt"], "Once upon a time")

    def test_echo_with_logprobs(self):
        prompt = "The capital of France is Paris"
        choice = self.complete(prompt, echo=True, logprobs=2, max_tokens=2, temperature=0).choices[0]
        self.assertTrue(choice.text.startswith(prompt))
        logprobs = choice.logprobs
        self.assertIsNone(logprobs.token_logprobs[0])
        self.assertTrue(all(value <= 0 for value in logprobs.token_logprobs[1:]))
        count = len(logprobs.tokens)
        self.assertEqual({len(logprobs.text_offset), len(logprobs.top_logprobs), len(logprobs.token_logprobs)}, {count})
        for token, offset in zip(logprobs.tokens, logprobs.text_offset):
            self.assertEqual(choice.text[offset : offset + len(token)], token)
        self.assertTrue(all(2 <= len(top) <= 3 for top in logprobs.top_logprobs[1:]))

    def test_echo_alone(self):
        choice = self.complete("Just this", echo=True, logprobs=0, max_tokens=0).choices[0]
        self.assertEqual(choice.text, "Just this")
        self.assertEqual(choice.finish_reason, "length")

    def test_logit_bias(self):
        free = self.complete(temperature=0, max_tokens=1, logprobs=1).choices[0]
        tokens = post("/tokenize", {"model": self.model, "prompt": free.text, "add_special_tokens": False})["tokens"]
        self.assertEqual(len(tokens), 1)
        biased = self.complete(temperature=0, max_tokens=1, logit_bias={str(tokens[0]): -100})
        self.assertNotEqual(biased.choices[0].text, free.text)
