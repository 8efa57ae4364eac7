"""The journey with the client of openapi-generator: openapi_generator.py URL"""

import sys
from uuid import uuid4

import chat_api
from chat_api.exceptions import NotFoundException, UnprocessableEntityException

client = chat_api.ApiClient(chat_api.Configuration(host=sys.argv[1]))
profiles = chat_api.ProfilesApi(client)
conversations = chat_api.ConversationsApi(client)
messages = chat_api.MessagesApi(client)

ada = profiles.create_profile(
    chat_api.NewProfile(first_name="Ada", last_name="Lovelace"), idempotency_key=str(uuid4())
)
assert (ada.full_name, ada.points) == ("Ada Lovelace", 0)
conversation = conversations.create_conversation(
    chat_api.NewConversation(subject="Engines", author_id=ada.id), idempotency_key=str(uuid4())
)

metadata = {"client": "test", "nested": {"list": [1, 2.5, None]}}
for number in range(1, 11):
    message = chat_api.NewMessage(author_id=ada.id, text=f"Message {number}", metadata=metadata)
    key = f"message-{number}-{uuid4()}"
    posted = messages.create_message(conversation.id, message, idempotency_key=key)
    assert (posted.seq, posted.points, posted.metadata) == (number, number, metadata)
    assert (posted.reward is not None) == (number == 10)
assert posted.reward.seq == 11 and posted.reward.author is None
assert posted.reward.type == chat_api.Kind.ACTION
assert posted.reward.text == "Congratulations Ada, you have reached 10 points!"
repeated = messages.create_message(conversation.id, message, idempotency_key=key)
assert (repeated.seq, repeated.author.points) == (10, 10)

seqs, before = [], None
while True:
    page = messages.list_messages(conversation.id, limit=4, before=before)
    seqs += [message.seq for message in page.results]
    if page.next is None:
        break
    before = seqs[-1]
assert seqs == list(range(11, 0, -1))
assert conversations.get_conversation(conversation.id).messages.results[0].seq == 11

edited = messages.update_message(conversation.id, 1, chat_api.MessagePatch(text="Edited"))
assert edited.text == "Edited" and edited.metadata == metadata
assert edited.edited_at >= edited.created_at

try:
    profiles.get_profile(uuid4())
    raise AssertionError("this profile does not exist")
except NotFoundException as error:
    assert isinstance(error.data, chat_api.Problem)
    assert (error.data.status, error.data.code) == (404, "not_found")
try:
    conversations.create_conversation(chat_api.NewConversation(subject="x", author_id=uuid4()))
    raise AssertionError("this author does not exist")
except UnprocessableEntityException as error:
    assert (error.data.status, error.data.code) == (422, "invalid")
    assert len(error.data.errors["author_id"]) == 1

messages.delete_message(conversation.id, 1)
deleted = messages.get_message(conversation.id, 1)
assert deleted.text == "" and deleted.deleted_at is not None
conversations.delete_conversation(conversation.id)
profiles.delete_profile(ada.id)
try:
    conversations.get_conversation(conversation.id)
    raise AssertionError("the conversation is deleted")
except NotFoundException as error:
    assert error.data.code == "not_found"
