"""The journey with the client of openapi-python-client: openapi_python_client.py URL"""

import sys
from uuid import uuid4

from chat_client import Client
from chat_client.api.conversations import (
    create_conversation,
    delete_conversation,
    get_conversation,
)
from chat_client.api.messages import (
    create_message,
    delete_message,
    get_message,
    list_messages,
    update_message,
)
from chat_client.api.profiles import create_profile, delete_profile, get_profile
from chat_client.models import (
    Kind,
    MessagePatch,
    Metadata,
    NewConversation,
    NewMessage,
    NewProfile,
    Problem,
)
from chat_client.types import UNSET

client = Client(base_url=sys.argv[1], raise_on_unexpected_status=True)

ada = create_profile.sync(
    client=client,
    body=NewProfile(first_name="Ada", last_name="Lovelace"),
    idempotency_key=str(uuid4()),
)
assert (ada.full_name, ada.points) == ("Ada Lovelace", 0)
conversation = create_conversation.sync(
    client=client,
    body=NewConversation(subject="Engines", author_id=ada.id),
    idempotency_key=str(uuid4()),
)

metadata = Metadata.from_dict({"client": "test", "nested": {"list": [1, 2.5, None]}})
for number in range(1, 11):
    message = NewMessage(author_id=ada.id, text=f"Message {number}", metadata=metadata)
    key = f"message-{number}-{uuid4()}"
    posted = create_message.sync(
        conversation.id, client=client, body=message, idempotency_key=key
    )
    assert (posted.seq, posted.points, posted.metadata) == (number, number, metadata)
    assert (posted.reward is not None) == (number == 10)
assert posted.reward.seq == 11 and posted.reward.author is None
assert posted.reward.type_ == Kind.ACTION
assert posted.reward.text == "Congratulations Ada, you have reached 10 points!"
repeated = create_message.sync(conversation.id, client=client, body=message, idempotency_key=key)
assert (repeated.seq, repeated.author.points) == (10, 10)

seqs, before = [], UNSET
while True:
    page = list_messages.sync(conversation.id, client=client, limit=4, before=before)
    seqs += [message.seq for message in page.results]
    if page.next_ is None:
        break
    before = seqs[-1]
assert seqs == list(range(11, 0, -1))
assert get_conversation.sync(conversation.id, client=client).messages.results[0].seq == 11

edited = update_message.sync(conversation.id, 1, client=client, body=MessagePatch(text="Edited"))
assert edited.text == "Edited" and edited.metadata == metadata
assert edited.edited_at >= edited.created_at

missing = get_profile.sync(uuid4(), client=client)
assert isinstance(missing, Problem)
assert (missing.status, missing.code) == (404, "not_found")
invalid = create_conversation.sync(
    client=client, body=NewConversation(subject="x", author_id=uuid4())
)
assert isinstance(invalid, Problem)
assert (invalid.status, invalid.code) == (422, "invalid")
assert len(invalid.errors["author_id"]) == 1

assert delete_message.sync_detailed(conversation.id, 1, client=client).status_code == 204
deleted = get_message.sync(conversation.id, 1, client=client)
assert deleted.text == "" and deleted.deleted_at is not None
assert delete_conversation.sync_detailed(conversation.id, client=client).status_code == 204
assert delete_profile.sync_detailed(ada.id, client=client).status_code == 204
gone = get_conversation.sync(conversation.id, client=client)
assert isinstance(gone, Problem) and gone.code == "not_found"
