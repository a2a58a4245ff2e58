// The Vercel AI SDK as programs use it, its providers unpatched, against the gateway that the environment names.
// One argument: which provider. Prints one JSON object: what each of its calls has given, or how it has failed.

import { createAmazonBedrock } from "@ai-sdk/amazon-bedrock";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const { GATEWAY_URL, GATEWAY_KEY, GATEWAY_ACCESS_KEY_ID, IMAGE } = process.env;

const openai = createOpenAI({ baseURL: `${GATEWAY_URL}/v1`, apiKey: GATEWAY_KEY });
const anthropic = createAnthropic({ baseURL: `${GATEWAY_URL}/v1`, apiKey: GATEWAY_KEY });
const bedrock = createAmazonBedrock({
  baseURL: GATEWAY_URL,
  region: "us-east-1",
  accessKeyId: GATEWAY_ACCESS_KEY_ID,
  secretAccessKey: GATEWAY_KEY,
});

const PROVIDERS = {
  "openai-chat": { model: (name) => openai.chat(name), embedding: "titan" },
  "openai-responses": { model: (name) => openai.responses(name) },
  anthropic: { model: (name) => anthropic(name) },
  bedrock: { model: (name) => bedrock(name) },
};

const weather = tool({
  description: "The weather somewhere.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `rain over ${city}`,
});

const { model, embedding } = PROVIDERS[process.argv[2]];
const results = {};

async function call(name, body) {
  try {
    results[name] = await body();
  } catch (error) {
    const cause = error.lastError ?? error;
    results[name] = {
      error: cause.name,
      status: cause.statusCode ?? null,
      message: String(cause.message),
      isApiCallError: APICallError.isInstance(cause),
      retryable: cause.isRetryable ?? null,
    };
  }
}

function told({ text, finishReason, usage }) {
  return { text, finishReason, input: usage.inputTokens, output: usage.outputTokens };
}

await call("chat", async () => told(await generateText({ model: model("claude"), prompt: "Say it plainly" })));

await call("stream", async () => {
  const failures = [];
  const result = streamText({
    model: model("claude"),
    prompt: "Say it plainly",
    onError: ({ error }) => failures.push(String(error?.message ?? error)),
  });
  let pieces = 0;
  let text = "";
  for await (const piece of result.textStream) {
    pieces += 1;
    text += piece;
  }
  return { text, pieces, failures, finishReason: await result.finishReason, input: (await result.usage).inputTokens };
});

await call("tools", async () => {
  const { steps, text } = await generateText({
    model: model("claude"),
    prompt: "Use weather for the city",
    tools: { weather },
    stopWhen: stepCountIs(3),
  });
  const calls = steps.flatMap((step) => step.toolCalls.map(({ toolName, input }) => ({ toolName, input })));
  return { steps: steps.length, calls, text };
});

await call("streamedTools", async () => {
  const result = streamText({
    model: model("claude"),
    prompt: "Use weather for the city",
    tools: { weather },
    stopWhen: stepCountIs(3),
  });
  const calls = [];
  for await (const part of result.fullStream) {
    if (part.type === "tool-call") calls.push({ toolName: part.toolName, input: part.input });
    if (part.type === "error") throw part.error;
  }
  return { calls, text: await result.text };
});

await call("image", async () =>
  told(
    await generateText({
      model: model("claude"),
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "What is that?" },
            { type: "image", image: IMAGE, mediaType: "image/png" },
          ],
        },
      ],
    }),
  ),
);

await call("object", async () => {
  const { output } = await generateText({
    model: model("claude"),
    prompt: "A city",
    output: Output.object({ schema: z.object({ city: z.string(), people: z.number() }) }),
  });
  return { output };
});

await call("unknownModel", async () =>
  told(await generateText({ model: model("simulator.throw-ResourceNotFoundException"), prompt: "hello", maxRetries: 0 })),
);

await call("throttled", async () =>
  told(await generateText({ model: model("simulator.throw-ThrottlingException"), prompt: "hello", maxRetries: 0 })),
);

await call("broken", async () => {
  const failures = [];
  const result = streamText({
    model: model("simulator.cut-between-frames"),
    prompt: "hello",
    maxRetries: 0,
    onError: ({ error }) => failures.push(String(error?.message ?? error)),
  });
  const parts = [];
  for await (const part of result.fullStream) parts.push(part.type);
  return { parts: [...new Set(parts)], failures };
});

if (embedding) {
  await call("embeddings", async () => {
    const { embeddings, usage } = await embedMany({
      model: openai.embedding(embedding),
      values: ["one", "two", "three"],
    });
    return { lengths: embeddings.map((vector) => vector.length), tokens: usage.tokens, same: embeddings[0] === embeddings[1] };
  });
}

console.log(JSON.stringify(results));
