// Errors become the client's exceptions, and what can be retried is.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { client, failingProxy, model, openai, user } from "./base.js";

const ask = (options) => openai.chat.completions.create({ model, messages: user("Hi"), max_tokens: 2, ...options });

test("bad values name their field", async () => {
  const cases = { temperature: 3, n: 17, max_tokens: 0, tools: [{ type: "function", function: { name: "f" } }] };
  for (const [param, value] of Object.entries(cases)) {
    await assert.rejects(ask({ [param]: value }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.param, param);
      assert.equal(error.type, "invalid_request_error");
      return true;
    });
  }
});

test("unknown models and routes that are not built", async () => {
  await assert.rejects(ask({ model: "no-such" }), (error) => {
    return error instanceof OpenAI.NotFoundError && error.code === "model_not_found";
  });
  await assert.rejects(openai.embeddings.create({ model, input: "x" }), (error) => {
    return error instanceof OpenAI.NotFoundError && error.code === "unknown_url";
  });
});

test("too large a body", async () => {
  await assert.rejects(ask({ messages: user("x".repeat(5_000_000)) }), (error) => error.status === 413);
});

test("busy, then well", async () => {
  for (const status of [429, 503]) {
    const failures = [{ status, headers: { "retry-after-ms": "5" } }, { status, headers: { "retry-after-ms": "5" } }];
    const seen = await failingProxy(failures, async (baseURL) => {
      const patient = client({ baseURL, maxRetries: 2 });
      const answer = await patient.chat.completions.create({ model, messages: user("Hi"), max_tokens: 2 });
      assert.equal(answer.choices.length, 1);
    });
    assert.equal(seen, 3);
  }
});

test("a bad request is not retried", async () => {
  const seen = await failingProxy([{ status: 400, headers: {} }], async (baseURL) => {
    await assert.rejects(client({ baseURL, maxRetries: 2 }).completions.create({ model, prompt: "x" }));
  });
  assert.equal(seen, 1);
});
