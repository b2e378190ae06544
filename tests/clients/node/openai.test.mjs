// OpenAI's own client for JavaScript.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { address, apiKey, checkWeather, Forecast, france, isScripted, model, weather, weatherSchema } from "./asked.mjs";

const client = new OpenAI({ baseURL: `${address}/v1`, apiKey, maxRetries: 0 });
const tool = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city.",
    parameters: weatherSchema,
    parse: JSON.parse,
    function: (args) => {
      checkWeather(args);
      return "sunny";
    },
  },
};
const plainTool = {
  type: "function",
  function: { name: "get_weather", description: "The weather of a city.", parameters: weatherSchema },
};
const named = { type: "function", function: { name: "get_weather" } };

test("a whole answer", async () => {
  const answer = await client.chat.completions.create({ model, messages: france, temperature: 0, max_tokens: 32 });
  assert.equal(answer.choices[0].message.content, "The capital of France is Paris.");
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a stream", async () => {
  const stream = client.chat.completions.stream({
    model,
    messages: france,
    temperature: 0,
    max_tokens: 32,
    stream_options: { include_usage: true },
  });
  let text = "";
  stream.on("content", (delta) => (text += delta));
  const completion = await stream.finalChatCompletion();
  assert.equal(text, "The capital of France is Paris.");
  assert.equal(completion.choices[0].message.content, text);
  assert.ok((await stream.totalUsage()).completion_tokens > 0);
});

test("a form is parsed", async () => {
  const answer = await client.chat.completions.parse({
    model,
    messages: weather,
    max_tokens: 64,
    response_format: zodResponseFormat(Forecast, "forecast"),
  });
  Forecast.parse(answer.choices[0].message.parsed);
});

test("a streamed call that is forced", async () => {
  const stream = client.chat.completions.stream({
    model,
    messages: weather,
    max_tokens: 100,
    tools: [plainTool],
    tool_choice: named,
  });
  let pieces = "";
  stream.on("tool_calls.function.arguments.delta", (event) => (pieces += event.arguments_delta));
  const message = (await stream.finalChatCompletion()).choices[0].message;
  assert.equal(message.tool_calls.length, 1);
  assert.equal(message.tool_calls[0].function.arguments, pieces);
  checkWeather(JSON.parse(pieces));
});

test("the helper that runs a tool once", async () => {
  const runner = client.chat.completions.runTools({
    model,
    messages: weather,
    max_tokens: 100,
    stream: true,
    tools: [tool],
    tool_choice: named,
  });
  assert.equal(await runner.finalFunctionToolCallResult(), "sunny");
});

test("the helper that runs tools until there is an answer", { skip: !isScripted }, async () => {
  const runner = client.chat.completions.runTools({ model, messages: weather, stream: true, tools: [tool] });
  assert.equal(await runner.finalContent(), "It is sunny.");
  assert.equal(await runner.finalFunctionToolCallResult(), "sunny");
});

test("a response, whole and streamed", async () => {
  const fields = { model, input: france, temperature: 0, max_output_tokens: 32 };
  const whole = await client.responses.create(fields);
  assert.equal(whole.output_text, "The capital of France is Paris.");
  const streamed = await client.responses.stream(fields).finalResponse();
  assert.equal(streamed.output_text, whole.output_text);
  assert.equal((await client.responses.retrieve(whole.id)).output_text, whole.output_text);
});

test("a response in a form", async () => {
  const response = await client.responses.parse({
    model,
    input: weather,
    max_output_tokens: 100,
    text: { format: zodTextFormat(Forecast, "forecast") },
  });
  Forecast.parse(response.output_parsed);
});

test("errors", async () => {
  await assert.rejects(
    client.chat.completions.create({ model: "nobody", messages: france }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
  await assert.rejects(
    client.chat.completions.create({ model, messages: france, temperature: 3 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature" && error.requestID !== null,
  );
});

test("a stream that is aborted", async () => {
  const stream = await client.chat.completions.create({ model, messages: france, stream: true });
  for await (const _chunk of stream) break;
  assert.equal(stream.controller.signal.aborted, true);
});
