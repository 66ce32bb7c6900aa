// Many clients at once, and clients that go away.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gauge, model, openai, user, waitUntil } from "./base.js";

const story = { model, messages: user("Tell me a long story."), max_tokens: 1500, ignore_eos: true };
const idle = async () => (await gauge("vllm:num_requests_running")) === 0;

test("64 at once", async () => {
  const ask = async (index) => {
    // Pairs ask the same, one with a stream and one without: the answers must be equal.
    const options = { model, messages: user(`Count to ${index >> 1}.`), max_tokens: 12, temperature: 0 };
    if (index % 2 === 0) return (await openai.chat.completions.create(options)).choices[0].message.content;
    let text = "";
    for await (const chunk of await openai.chat.completions.create({ ...options, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    return text;
  };
  const answers = await Promise.all(Array.from({ length: 64 }, (_, index) => ask(index)));
  for (let index = 0; index < 64; index += 2) assert.equal(answers[index], answers[index + 1]);
});

test("a disconnect in mid-stream frees the server", async () => {
  assert.ok(await waitUntil(idle));
  const stream = await openai.chat.completions.create({ ...story, stream: true });
  let count = 0;
  for await (const _ of stream) if ((count += 1) === 3) break;
  assert.ok(await waitUntil(idle, 5_000));
});

test("a disconnect before a whole answer frees the server", async () => {
  const controller = new AbortController();
  const asked = assert.rejects(openai.chat.completions.create(story, { signal: controller.signal }));
  assert.ok(await waitUntil(async () => (await gauge("vllm:num_requests_running")) === 1));
  controller.abort();
  await asked;
  assert.ok(await waitUntil(idle, 5_000));
});
