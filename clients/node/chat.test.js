// Chat and text completions through the openai package.
import assert from "node:assert/strict";
import { test } from "node:test";
import { model, openai, user } from "./base.js";

const ask = (options = {}) =>
  openai.chat.completions.create({ model, messages: user("Say hello."), max_tokens: 16, ...options });

async function textOf(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  return text;
}

test("a whole answer", async () => {
  const answer = await ask();
  assert.match(answer.id, /^chatcmpl-/);
  assert.equal(answer.choices[0].message.role, "assistant");
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a stream says what the whole answer says", async () => {
  const whole = await ask({ temperature: 0 });
  assert.equal(await textOf(await ask({ temperature: 0, stream: true })), whole.choices[0].message.content);
});

test("the last chunk of a stream has the usage", async () => {
  const chunks = [];
  const stream = await ask({ stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) chunks.push(chunk);
  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.completion_tokens > 0);
  assert.ok(chunks.every((chunk) => chunk.usage === null && chunk.id === last.id));
});

test("the client's own stream helper assembles the answer", async () => {
  const runner = openai.chat.completions.stream({ model, messages: user("Say hello."), max_tokens: 8, temperature: 0 });
  const final = await runner.finalChatCompletion();
  assert.equal(final.choices[0].message.content, (await ask({ temperature: 0, max_tokens: 8 })).choices[0].message.content);
});

test("n choices, each with its own text", async () => {
  const answer = await ask({ n: 3, seed: 3, temperature: 1.2 });
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1, 2]);
  assert.ok(new Set(answer.choices.map((choice) => choice.message.content)).size > 1);
});

test("a seed repeats the answer", async () => {
  const [once, again] = await Promise.all([ask({ seed: 9, temperature: 1.2 }), ask({ seed: 9, temperature: 1.2 })]);
  assert.equal(once.choices[0].message.content, again.choices[0].message.content);
});

test("a stop string ends the answer before it", async () => {
  const whole = (await ask({ temperature: 0 })).choices[0].message.content;
  const stop = whole.slice(4, 7);
  const cut = (await ask({ temperature: 0, stop })).choices[0];
  assert.equal(cut.message.content, whole.slice(0, whole.indexOf(stop)));
  assert.equal(cut.finish_reason, "stop");
});

test("logprobs", async () => {
  const { logprobs } = (await ask({ temperature: 0, logprobs: true, top_logprobs: 2 })).choices[0];
  assert.equal(logprobs.refusal, null);
  for (const token of logprobs.content) {
    assert.equal(token.top_logprobs.length, 2);
    assert.ok(token.logprob <= 0 && token.logprob === token.top_logprobs[0].logprob);
  }
});

test("completions: whole, streamed and echoed", async () => {
  const options = { model, prompt: "Once upon a time", max_tokens: 8, temperature: 0 };
  const whole = (await openai.completions.create(options)).choices[0].text;
  let streamed = "";
  for await (const chunk of await openai.completions.create({ ...options, stream: true })) streamed += chunk.choices[0].text;
  assert.equal(streamed, whole);
  const echoed = (await openai.completions.create({ ...options, echo: true, logprobs: 1 })).choices[0];
  assert.equal(echoed.text, options.prompt + whole);
  assert.equal(echoed.logprobs.token_logprobs[0], null);
  assert.equal(echoed.logprobs.tokens.length, echoed.logprobs.text_offset.length);
});
