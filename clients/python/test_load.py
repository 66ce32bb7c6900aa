"""Many clients at once, and clients that go away."""

import asyncio
import time

from base import Case, async_client, gauge, wait_until


class Load(Case):
    def test_sixty_four_at_once(self):
        async def ask(client, index):
            # Every fourth asks the same as another, with and without a stream: the answers must be equal too.
            prompt = f"Tell me about the number {index // 2 % 16}."
            options = dict(model=self.model, messages=[{"role": "user", "content": prompt}], max_tokens=16, temperature=0)
            if index % 2 == 0:
                answer = await client.chat.completions.create(**options)
                return prompt, answer.choices[0].message.content
            stream = await client.chat.completions.create(stream=True, **options)
            return prompt, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        async def all_of_them():
            async with async_client() as client:
                return await asyncio.gather(*(ask(client, index) for index in range(64)))

        answers = asyncio.run(all_of_them())
        self.assertEqual(len(answers), 64)
        by_prompt = {}
        for prompt, text in answers:
            by_prompt.setdefault(prompt, set()).add(text)
        self.assertEqual(len(by_prompt), 16)
        self.assertTrue(all(len(texts) == 1 for texts in by_prompt.values()), by_prompt)


class Disconnects(Case):
    def assert_idle_soon(self):
        self.assertTrue(wait_until(lambda: gauge("vllm:num_requests_running") == 0, seconds=5))

    def test_in_mid_stream(self):
        stream = self.chat("Tell me a long story.", stream=True, max_tokens=1500, extra_body={"ignore_eos": True})
        for _ in range(3):
            next(stream)
        self.assertEqual(gauge("vllm:num_requests_running"), 1)
        stream.close()
        self.assert_idle_soon()

    def test_while_waiting_for_a_whole_answer(self):
        async def ask_and_leave():
            async with async_client() as client:
                messages = [{"role": "user", "content": "Tell me a long story."}]
                asked = asyncio.create_task(
                    client.chat.completions.create(
                        model=self.model, messages=messages, max_tokens=1500, extra_body={"ignore_eos": True}
                    )
                )
                running = lambda: gauge("vllm:num_requests_running") == 1
                self.assertTrue(await asyncio.to_thread(wait_until, running))
                asked.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await asked

        began = time.monotonic()
        asyncio.run(ask_and_leave())
        self.assert_idle_soon()
        self.assertLess(time.monotonic() - began, 15)
