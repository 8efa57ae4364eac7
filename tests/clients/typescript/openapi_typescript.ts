// The journey with the types of openapi-typescript and the client openapi-fetch.

import createClient from "openapi-fetch";
import { check, url } from "./check";
import type { components, paths } from "./generated/schema";

const client = createClient<paths>({ baseUrl: url });
type Problem = components["schemas"]["Problem"];

function success<T>(result: { data?: T; error?: unknown }): T {
  check(result.data !== undefined, JSON.stringify(result.error));
  return result.data;
}

function headers() {
  return { "Idempotency-Key": crypto.randomUUID() };
}

async function journey() {
  const profile = { first_name: "Ada", last_name: "Lovelace" };
  const ada = success(
    await client.POST("/profiles", { params: { header: headers() }, body: profile }),
  );
  check(ada.full_name === "Ada Lovelace" && ada.points === 0, "a new profile");
  const subject = { subject: "Engines", author_id: ada.id };
  const conversation = success(
    await client.POST("/conversations", { params: { header: headers() }, body: subject }),
  );

  const path = { conversation_id: conversation.id };
  const messages = "/conversations/{conversation_id}/messages";
  const metadata = { client: "test", nested: { list: [1, 2.5, null] } };
  for (let number = 1; number <= 10; number++) {
    const body = { author_id: ada.id, text: `Message ${number}`, metadata };
    const params = { path, header: headers() };
    const posted = success(await client.POST(messages, { params, body }));
    check(posted.seq === number && posted.points === number, "one point per message");
    check(JSON.stringify(posted.metadata) === JSON.stringify(metadata), "the metadata");
    check((posted.reward !== null) === (number === 10), "a reward at ten points");
    if (posted.reward !== null) {
      const { seq, type, text, author } = posted.reward;
      check(seq === 11 && type === "action" && author === null, "a congratulation");
      check(text === "Congratulations Ada, you have reached 10 points!", "its text");
      const repeated = success(await client.POST(messages, { params, body }));
      check(repeated.seq === 10 && repeated.author?.points === 10, "a repeat");
    }
  }

  const seqs: number[] = [];
  for (let more = true; more; ) {
    const query = { limit: 4, before: seqs.at(-1) };
    const page = success(await client.GET(messages, { params: { path, query } }));
    seqs.push(...page.results.map((message) => message.seq));
    more = page.next !== null;
  }
  check(seqs.join() === "11,10,9,8,7,6,5,4,3,2,1", "every message once");
  const details = await client.GET("/conversations/{conversation_id}", { params: { path } });
  check(success(details).messages.results[0]?.seq === 11, "the newest messages");

  const message = "/conversations/{conversation_id}/messages/{seq}";
  const first = { params: { path: { ...path, seq: 1 } } };
  const edited = success(await client.PATCH(message, { ...first, body: { text: "Edited" } }));
  check(edited.text === "Edited" && edited.edited_at !== null, "an edited message");

  const profileId = { path: { profile_id: crypto.randomUUID() } };
  const missing = await client.GET("/profiles/{profile_id}", { params: profileId });
  check(missing.response.status === 404, "a 404");
  check((missing.error as Problem).code === "not_found", "its problem");
  const body = { subject: "x", author_id: crypto.randomUUID() };
  const invalid = await client.POST("/conversations", { body });
  check(invalid.response.status === 422, "a 422");
  const problem = invalid.error as Problem;
  check(problem.code === "invalid" && problem.errors?.author_id?.length === 1, "its problem");

  await client.DELETE(message, first);
  const deleted = success(await client.GET(message, first));
  check(deleted.text === "" && deleted.deleted_at !== null, "a deleted message");
  const params = { path };
  const done = await client.DELETE("/conversations/{conversation_id}", { params });
  check(done.response.status === 204, "a deleted conversation");
  const owner = { path: { profile_id: ada.id } };
  const gone = await client.DELETE("/profiles/{profile_id}", { params: owner });
  check(gone.response.status === 204, "a deleted profile");
}

void journey();
