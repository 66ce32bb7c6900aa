// What the tests share: the client, the model, the metrics and a proxy that fails on purpose.
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";

export const BASE_URL = process.env.ORRERY_BASE_URL.replace(/\/$/, "");

const API_KEY = process.env.ORRERY_API_KEY;
// For routes that the openai package does not know.
const HEADERS = { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" };

export function client(options = {}) {
  return new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: API_KEY, maxRetries: 0, timeout: 300_000, ...options });
}

export const openai = client();
export const model = (await openai.models.list()).data[0].id;

export function user(content) {
  return [{ role: "user", content }];
}

// The sum of a metric over all models.
export async function gauge(name) {
  const text = await (await fetch(`${BASE_URL}/metrics`, { headers: HEADERS })).text();
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

// Polls a condition of another process; false when it does not come about.
export async function waitUntil(condition, ms = 10_000) {
  const deadline = Date.now() + ms;
  while (Date.now() < deadline) {
    if (await condition()) return true;
    await sleep(20);
  }
  return false;
}

// Answers the first requests with a failure each, then passes them on to the server.
export async function failingProxy(failures, use) {
  let seen = 0;
  const server = http.createServer(async (request, response) => {
    seen += 1;
    let body = "";
    for await (const part of request) body += part;
    const failure = failures.shift();
    if (failure) {
      const error = { message: "busy", type: "x", param: null, code: null };
      response.writeHead(failure.status, failure.headers).end(JSON.stringify({ error }));
      return;
    }
    const answer = await fetch(BASE_URL + request.url, { method: "POST", headers: HEADERS, body });
    response.writeHead(answer.status, { "content-type": "application/json" }).end(await answer.text());
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    await use(`http://127.0.0.1:${server.address().port}/v1`);
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
  return seen;
}
