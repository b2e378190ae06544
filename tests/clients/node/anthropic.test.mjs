// Anthropic's own client for JavaScript.
import assert from "node:assert/strict";
import test from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { address, apiKey, checkWeather, france, model, weather, weatherSchema } from "./asked.mjs";

const client = new Anthropic({ baseURL: address, apiKey, maxRetries: 0 });
const tool = { name: "get_weather", description: "The weather of a city.", input_schema: weatherSchema };

test("a whole message", async () => {
  const message = await client.messages.create({ model, messages: france, max_tokens: 32, temperature: 0 });
  assert.equal(message.content[0].text, "The capital of France is Paris.");
  assert.equal(message.stop_reason, "end_turn");
});

test("a stream", async () => {
  const stream = client.messages.stream({ model, messages: france, max_tokens: 32, temperature: 0 });
  let text = "";
  stream.on("text", (delta) => (text += delta));
  assert.equal(await stream.finalText(), text);
  assert.equal(text, "The capital of France is Paris.");
});

test("a streamed call that is forced", async () => {
  const stream = client.messages.stream({
    model,
    messages: weather,
    max_tokens: 100,
    tools: [tool],
    tool_choice: { type: "tool", name: "get_weather" },
  });
  const message = await stream.finalMessage();
  assert.equal(message.stop_reason, "tool_use");
  checkWeather(message.content.find((block) => block.type === "tool_use").input);
});

test("a count", async () => {
  const count = await client.messages.countTokens({ model, messages: france });
  assert.ok(count.input_tokens > 0);
});

test("errors", async () => {
  await assert.rejects(
    client.messages.create({ model, messages: [], max_tokens: 8 }),
    (error) => error instanceof Anthropic.BadRequestError && error.error.error.type === "invalid_request_error",
  );
});
