// The journey with the client of @hey-api/openapi-ts.

import { check, url } from "./check";
import * as api from "./generated";
import { client } from "./generated/client.gen";

client.setConfig({ baseUrl: url });

function success<T>(result: { data?: T; error?: unknown }): T {
  check(result.data !== undefined, JSON.stringify(result.error));
  return result.data;
}

function headers() {
  return { "Idempotency-Key": crypto.randomUUID() };
}

async function journey() {
  const profile = { first_name: "Ada", last_name: "Lovelace" };
  const ada = success(await api.createProfile({ headers: headers(), body: profile }));
  check(ada.full_name === "Ada Lovelace" && ada.points === 0, "a new profile");
  const subject = { subject: "Engines", author_id: ada.id };
  const conversation = success(
    await api.createConversation({ headers: headers(), body: subject }),
  );

  const path = { conversation_id: conversation.id };
  const metadata = { client: "test", nested: { list: [1, 2.5, null] } };
  for (let number = 1; number <= 10; number++) {
    const body = { author_id: ada.id, text: `Message ${number}`, metadata };
    const message = { path, headers: headers(), body };
    const posted = success(await api.createMessage(message));
    check(posted.seq === number && posted.points === number, "one point per message");
    check(JSON.stringify(posted.metadata) === JSON.stringify(metadata), "the metadata");
    check((posted.reward !== null) === (number === 10), "a reward at ten points");
    if (posted.reward !== null) {
      const { seq, type, text, author } = posted.reward;
      check(seq === 11 && type === "action" && author === null, "a congratulation");
      check(text === "Congratulations Ada, you have reached 10 points!", "its text");
      const repeated = success(await api.createMessage(message));
      check(repeated.seq === 10 && repeated.author?.points === 10, "a repeat");
    }
  }

  const seqs: number[] = [];
  for (let more = true; more; ) {
    const query = { limit: 4, before: seqs.at(-1) };
    const page = success(await api.listMessages({ path, query }));
    seqs.push(...page.results.map((message) => message.seq));
    more = page.next !== null;
  }
  check(seqs.join() === "11,10,9,8,7,6,5,4,3,2,1", "every message once");
  const details = success(await api.getConversation({ path }));
  check(details.messages.results[0]?.seq === 11, "the newest messages");

  const first = { path: { ...path, seq: 1 } };
  const edited = success(await api.updateMessage({ ...first, body: { text: "Edited" } }));
  check(edited.text === "Edited" && edited.edited_at !== null, "an edited message");

  const missing = await api.getProfile({ path: { profile_id: crypto.randomUUID() } });
  const notFound = missing.error as api.GetProfileErrors[404];
  check(notFound.status === 404 && notFound.code === "not_found", "a 404");
  const body = { subject: "x", author_id: crypto.randomUUID() };
  const refused = await api.createConversation({ body });
  const invalid = refused.error as api.CreateConversationErrors[422];
  check(invalid.status === 422 && invalid.code === "invalid", "a 422");
  check(invalid.errors?.author_id?.length === 1, "its field");

  await api.deleteMessage(first);
  const deleted = success(await api.getMessage(first));
  check(deleted.text === "" && deleted.deleted_at !== null, "a deleted message");
  const done = await api.deleteConversation({ path });
  check(done.response?.status === 204, "a deleted conversation");
  const gone = await api.deleteProfile({ path: { profile_id: ada.id } });
  check(gone.response?.status === 204, "a deleted profile");
}

void journey();
