// Three turns with a tool, by each client; prints one line of JSON for each: what it saw.
// Each acts for a user of its own and, unless `unnamed`, names its chat.
// Usage: node clients.mjs BASE_URL TOKEN MODEL [unnamed]

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool as agentTool } from "@openai/agents";
import { generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const [baseURL, apiKey, model, unnamed] = process.argv.slice(2);
const clock = { description: "The time of a city", inputSchema: z.object({ city: z.string() }) };
const noon = async ({ city }) => `noon in ${city}`;
setTracingDisabled(true);

const headersOf = (chat) => ({ "X-User-Id": chat, ...(unnamed ? {} : { "X-Conversation-Id": chat }) });
const compatible = (chat) =>
  createOpenAICompatible({ name: "record", baseURL, apiKey, headers: headersOf(chat), includeUsage: true })(model);
const official = (chat) => createOpenAI({ baseURL, apiKey, headers: headersOf(chat) });

// Each turn sends the whole history, as an application with the AI SDK does.
async function threeTurns(language, ask) {
  const messages = [];
  const texts = [];
  for (const content of ["How late is it in Rome?", "Thank you.", "Good bye."]) {
    messages.push({ role: "user", content });
    const { text, added } = await ask({
      model: language,
      messages,
      tools: { clock: tool({ ...clock, execute: noon }) },
      stopWhen: stepCountIs(5),
    });
    messages.push(...added);
    texts.push(text);
  }
  return { texts };
}

const generate = async (options) => {
  const result = await generateText(options);
  return { text: result.text, added: result.response.messages };
};

const stream = async (options) => {
  const failures = [];
  const result = streamText({ ...options, onError: ({ error }) => failures.push(error) });
  let text = "";
  for await (const piece of result.textStream) text += piece;
  if (failures.length) throw failures[0];
  return { text, added: (await result.response).messages };
};

const client = (chat) => new OpenAI({ baseURL, apiKey, defaultHeaders: headersOf(chat) });

async function sdk(chat) {
  const models = (await client(chat).models.list()).data.map((one) => one.id);
  const answer = await client(chat).chat.completions.create({
    model,
    messages: [{ role: "user", content: "Hello" }],
  });
  const streamed = await client(chat).chat.completions.create({
    model,
    messages: [
      { role: "user", content: "Hello" },
      answer.choices[0].message,
      { role: "user", content: "And again" },
    ],
    stream: true,
  });
  let text = "";
  for await (const chunk of streamed) text += chunk.choices[0]?.delta?.content ?? "";
  return { models, texts: [answer.choices[0].message.content, text] };
}

async function conversations(chat) {
  const openai = client(chat);
  const made = await openai.conversations.create({
    items: [{ type: "message", role: "user", content: "Hello" }],
  });
  const answer = await openai.responses.create({ model, conversation: made.id, input: "And again" });
  const items = [];
  for await (const item of openai.conversations.items.list(made.id, { order: "asc" })) items.push(item.type);
  return { texts: [answer.output_text], items };
}

async function agent(languageModel) {
  const helper = new Agent({
    name: "helper",
    model: languageModel,
    tools: [
      agentTool({ name: "clock", description: clock.description, parameters: clock.inputSchema, execute: noon }),
    ],
  });
  let history = [];
  const texts = [];
  for (const content of ["How late is it in Rome?", "Thank you.", "Good bye."]) {
    const result = await run(helper, [...history, { role: "user", content }]);
    history = result.history;
    texts.push(result.finalOutput);
  }
  return { texts };
}

const runs = {
  "openai chat": sdk,
  "openai conversations": conversations,
  "ai-sdk compatible generate": (chat) => threeTurns(compatible(chat), generate),
  "ai-sdk compatible stream": (chat) => threeTurns(compatible(chat), stream),
  "ai-sdk openai chat generate": (chat) => threeTurns(official(chat).chat(model), generate),
  "ai-sdk openai chat stream": (chat) => threeTurns(official(chat).chat(model), stream),
  "ai-sdk openai responses generate": (chat) => threeTurns(official(chat).responses(model), generate),
  "ai-sdk openai responses stream": (chat) => threeTurns(official(chat).responses(model), stream),
  "agents chat": (chat) => agent(new OpenAIChatCompletionsModel(client(chat), model)),
  "agents responses": (chat) => agent(new OpenAIResponsesModel(client(chat), model)),
};

for (const [name, one] of Object.entries(runs)) {
  let seen;
  try {
    seen = await one(name.replaceAll(" ", "-"));
  } catch (error) {
    seen = { error: String(error?.message ?? error), url: error?.url, body: error?.responseBody };
  }
  console.log(JSON.stringify({ name, ...seen }));
}
