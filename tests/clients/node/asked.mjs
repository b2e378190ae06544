// What the tests ask, and of whom: the Python test that runs them says where the server is.
import { z } from "zod";

export const address = process.env.HEADRACE_TEST_ADDRESS;
export const model = process.env.HEADRACE_TEST_MODEL;
export const apiKey = process.env.HEADRACE_TEST_KEY;
export const isScripted = model.startsWith("scripted");

export const france = [{ role: "user", content: "What is the capital of France?" }];
export const weather = [{ role: "user", content: "What is the weather in Paris?" }];

export const Forecast = z.object({
  city: z.enum(["Paris", "Rome"]),
  sky: z.enum(["sunny", "rainy", "cloudy"]),
});

export const weatherSchema = {
  type: "object",
  properties: { city: { enum: ["Paris", "Rome"] }, unit: { enum: ["celsius", "kelvin"] } },
  required: ["city", "unit"],
  additionalProperties: false,
};

export function checkWeather(args) {
  z.strictObject({ city: z.enum(["Paris", "Rome"]), unit: z.enum(["celsius", "kelvin"]) }).parse(args);
}
