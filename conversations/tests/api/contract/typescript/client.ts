// A conversation from its start to its end, through types generated from docs/openapi.yaml.
// Throws at the first surprise; else prints one line of JSON, which the Python test checks.

import assert from "node:assert/strict";

import createClient from "openapi-fetch";

import type { components, paths } from "./api.js";

type Schemas = components["schemas"];

interface Answer<Data, Problem> {
  data?: Data;
  error?: Problem;
  response: Response;
}

const api = createClient<paths>({
  baseUrl: given("CONTRACT_URL"),
  headers: { Authorization: `Bearer ${given("CONTRACT_TOKEN")}` },
});
const foreign = given("CONTRACT_FOREIGN_ID");
const text = ["first question", "an answer about xylophones", "second question", "a last answer"];

const id = await create();
const sequences = [await appendOne(id), ...(await appendBatch(id))];
const paged = await pages(id);
assert.deepEqual(
  paged.flat().map((message) => message.content),
  text,
);
assert.deepEqual(await ofRoles(id, ["assistant", "tool"]), [text[1], text[3]]);
assert.ok((await list()).includes(id));
const title = await rename(id);
const found = await search("xylophone");
assert.equal(found.conversation.id, id);
const problem = await errorOfForeign();
const sessionProblem = await errorOfForeignSession();
const validationProblem = await errorOfMalformedSession();
const deleted = await remove(id);

console.log(
  JSON.stringify({
    id,
    sequences,
    pages: paged.map((page) => page.map((message) => message.content)),
    title,
    found: found.message?.sequence,
    problem,
    sessionProblem,
    validationProblem,
    deleted,
  }),
);

async function create(): Promise<string> {
  const conversation = good(
    201,
    await api.POST("/api/conversations", {
      body: { title: "From TypeScript", metadata: { tags: ["contract"], depth: 1 } },
    }),
  );
  assert.equal(conversation.message_count, 0);
  assert.deepEqual(conversation.metadata, { tags: ["contract"], depth: 1 });
  return conversation.id;
}

async function appendOne(conversation_id: string): Promise<number> {
  const path = { conversation_id };
  const message = good(
    201,
    await api.POST("/api/conversations/{conversation_id}/messages", {
      params: { path },
      body: { role: "user", content: text[0], expected_last_sequence: 0 },
    }),
  );
  assert.ok(!("messages" in message));
  const rating: 1 | -1 | null = message.rating;
  assert.equal(rating, null);
  return message.sequence;
}

async function appendBatch(conversation_id: string): Promise<number[]> {
  const messages: Schemas["NewMessageRequest"][] = [
    { role: "assistant", content: text[1], status: "complete", prompt_tokens: 3 },
    { role: "user", content: text[2] },
    { role: "assistant", content: text[3], tool_calls: null, metadata: { last: true } },
  ];
  const answer = good(
    201,
    await api.POST("/api/conversations/{conversation_id}/messages", {
      params: { path: { conversation_id }, header: { "Idempotency-Key": "a batch" } },
      body: { messages },
    }),
  );
  assert.ok("messages" in answer);
  return answer.messages.map((message) => message.sequence);
}

async function pages(conversation_id: string): Promise<Schemas["Message"][][]> {
  const read: Schemas["Message"][][] = [];
  let cursor: string | undefined;
  do {
    const page = good(
      200,
      await api.GET("/api/conversations/{conversation_id}/messages", {
        params: { path: { conversation_id }, query: { page_size: 3, cursor } },
      }),
    );
    read.push(page.messages);
    cursor = cursorOf(page.next);
  } while (cursor !== undefined);
  return read;
}

async function ofRoles(conversation_id: string, role: Schemas["Role"][]): Promise<string[]> {
  const { messages } = good(
    200,
    await api.GET("/api/conversations/{conversation_id}/messages", {
      params: { path: { conversation_id }, query: { role } },
    }),
  );
  return messages.map((message) => message.content);
}

async function list(): Promise<string[]> {
  const { conversations, count } = good(
    200,
    await api.GET("/api/conversations", { params: { query: { order: "-created_at" } } }),
  );
  assert.equal(conversations.length, count);
  return conversations.map((conversation) => conversation.id);
}

async function rename(conversation_id: string): Promise<string> {
  const path = { conversation_id };
  const conversation = good(
    200,
    await api.PATCH("/api/conversations/{conversation_id}", {
      params: { path },
      body: { title: "Renamed" },
    }),
  );
  assert.equal(conversation.message_count, text.length);
  return conversation.title;
}

async function search(q: string): Promise<Schemas["SearchResult"]> {
  const { results } = good(200, await api.GET("/api/search", { params: { query: { q } } }));
  const [result, ...others] = results;
  assert.ok(result);
  assert.deepEqual(others, []);
  assert.equal(result.kind, "message");
  assert.match(result.snippet, /<mark>xylophones<\/mark>/);
  return result;
}

async function errorOfForeign() {
  return codeOf(
    bad(
      404,
      await api.GET("/api/conversations/{conversation_id}", {
        params: { path: { conversation_id: foreign } },
      }),
    ),
  );
}

// The session-named routes have an error of their own for what is malformed.
async function errorOfForeignSession() {
  const error = bad(404, await session(foreign));
  assert.ok("errors" in error);
  return codeOf(error);
}

async function errorOfMalformedSession() {
  const error = bad(422, await session("no-uuid"));
  assert.ok("detail" in error);
  return error.detail.map((each) => each.loc);
}

function session(session_id: string) {
  return api.GET("/api/chat-history/sessions/{session_id}", { params: { path: { session_id } } });
}

async function remove(conversation_id: string): Promise<string> {
  const at = { params: { path: { conversation_id } } };
  const answer = good(200, await api.DELETE("/api/conversations/{conversation_id}", at));
  assert.equal(answer.conversation_id, conversation_id);
  bad(404, await api.GET("/api/conversations/{conversation_id}", at));
  return answer.status;
}

function codeOf(error: Schemas["Error"]) {
  assert.ok(error.request_id);
  return { type: error.type, codes: error.errors.map((each) => each.code) };
}

function cursorOf(url: string | null): string | undefined {
  return url === null ? undefined : (new URL(url).searchParams.get("cursor") ?? undefined);
}

function good<Data, Problem>(status: number, answer: Answer<Data, Problem>): NonNullable<Data> {
  assert.equal(answer.response.status, status, JSON.stringify(answer.error));
  assert.ok(answer.data);
  return answer.data;
}

function bad<Data, Problem>(status: number, answer: Answer<Data, Problem>): NonNullable<Problem> {
  assert.equal(answer.response.status, status, JSON.stringify(answer.data));
  assert.ok(answer.error);
  return answer.error;
}

function given(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}

// What the types must refuse; compiled, never run.
export async function refused(): Promise<void> {
  const params = { path: { conversation_id: foreign } };
  // @ts-expect-error: no such role
  await api.POST("/api/conversations/{conversation_id}/messages", { params, body: { role: "cat" } });
  // @ts-expect-error: what was said cannot be changed, and titles are texts
  await api.PATCH("/api/conversations/{conversation_id}", { params, body: { title: null } });
  // @ts-expect-error: a search has a query
  await api.GET("/api/search");
  // @ts-expect-error: no such route
  await api.GET("/api/nothing");
}
