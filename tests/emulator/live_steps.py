"""Steps about live delivery: tickets, the WebSocket API, the stream of the table."""

import json
import time
from contextlib import contextmanager

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

# The longest wait for a frame, in seconds. The emulator looks at the stream once a second.
PATIENCE = 30
# The functions that send frames.
SENDERS = {"Subscribe", "Unsubscribe", "Watch", "Deliver"}
# What Lambda does with the role of `Deliver`. The emulator does it without asking the role.
READS = {"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"}


def ticket(deployment):
    """Returns an address that opens one connection."""
    return deployment.api("chat/read").post("/tickets", {}).expect(201)["url"]


def await_frame(socket, kind, expected=lambda frame: True):
    """Waits for a frame of this type that is expected. Skips all others."""
    deadline = time.monotonic() + PATIENCE
    while True:
        frame = json.loads(socket.recv(timeout=deadline - time.monotonic()))
        if frame["type"] == kind and expected(frame):
            return


def await_message(socket, text):
    """Waits for a frame that contains the message."""
    await_frame(socket, "changes", lambda frame: text in [m.get("text") for m in frame["results"]])


def conversation_id(deployment):
    """Returns the id of the deployment's conversation."""
    return deployment.conversation.rsplit("/", 1)[1]


@contextmanager
def subscribed(deployment):
    """Opens a connection that is subscribed to the conversation."""
    frame = {"conversation_id": conversation_id(deployment), "after": "0.0"}
    with connect(ticket(deployment)) as socket:
        socket.send(json.dumps({"action": "subscribe", **frame}))
        await_message(socket, "First")
        yield socket


def a_post_arrives(deployment, text):
    """Posts a message, which a subscriber receives. The mapping reads the stream of the table."""
    with subscribed(deployment) as socket:
        deployment.post(text).expect(201)
        await_message(socket, text)
    table = deployment.emulator.client("dynamodb").describe_table(
        TableName=deployment.state.outputs()["TableName"]
    )["Table"]
    assert mapping(deployment)["EventSourceArn"] == table["LatestStreamArn"]
    assert not denied(deployment), denied(deployment)


def mapping(deployment):
    """Returns how Lambda reads the stream."""
    return deployment.emulator.client("lambda").get_event_source_mapping(
        UUID=deployment.service.id("DeliverStream")
    )


def denied(deployment):
    """Returns what the role of `Deliver` may not do with the stream and the queue of failures."""
    iam, read = deployment.emulator.client("iam"), mapping(deployment)
    role = iam.get_role(RoleName=deployment.service.id("DeliverRole"))["Role"]["Arn"]
    queue = read["DestinationConfig"]["OnFailure"]["Destination"]
    needed = [(f"dynamodb:{action}", read["EventSourceArn"]) for action in READS]
    return {
        action
        for action, resource in [*needed, ("sqs:SendMessage", queue)]
        for result in iam.simulate_principal_policy(
            PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource]
        )["EvaluationResults"]
        if result["EvalDecision"] != "allowed"
    }


def silent(deployment):
    """Returns the functions that cannot send frames. The conversation has a subscriber."""
    # Each answers this frame with an error. A connection that is gone is no failure.
    frame = {"requestContext": {"connectionId": "absent"}, "body": '{"action": "watch"}'}
    keys = {"pk": f"CONVERSATION#{conversation_id(deployment)}", "sk": "MESSAGE#000000000001"}
    keys = {name: {"S": value} for name, value in keys.items()}
    record = {"eventName": "INSERT", "dynamodb": {"Keys": keys, "SequenceNumber": "1"}}
    answers = {name: deployment.answer(name, frame) for name in SENDERS - {"Deliver"}}
    failed = {name for name, answer in answers.items() if answer["statusCode"] == 500}
    if deployment.answer("Deliver", {"Records": [record]})["batchItemFailures"]:
        failed.add("Deliver")
    return failed


def a_ticket_opens_one_connection(deployment):
    """A ticket that was used opens nothing. Nor does its absence."""
    url = ticket(deployment)
    connect(url).close()
    for refused in (url, url.split("?")[0]):
        try:
            connect(refused).close()
        except InvalidStatus as error:
            assert error.response.status_code == 403, error
        else:
            raise AssertionError(f"{refused} opens a connection")


def a_post_reaches_subscribers_and_watchers(deployment):
    """A subscriber receives a post, and a watcher of its author that there is one."""
    a_post_arrives(deployment, "Live")
    watch = {"profile_id": deployment.author, "conversation_ids": [conversation_id(deployment)]}
    with connect(ticket(deployment)) as socket:
        socket.send(json.dumps({"action": "watch", **watch}))
        await_frame(socket, "watching")
        deployment.post("Watched").expect(201)
        await_frame(socket, "activity")


def a_missing_permission_of_live_delivery_is_noticed(deployment):
    """Without their permissions the functions send no frames, and the stream cannot be read."""
    removed = {"dynamodb:GetRecords", "sqs:SendMessage"}
    without = [f"{name}Role=execute-api:ManageConnections" for name in SENDERS]
    with subscribed(deployment):
        assert not silent(deployment), silent(deployment)
        deployment.deploy(without=[*without, *(f"DeliverRole={action}" for action in removed)])
        assert silent(deployment) == SENDERS, silent(deployment)
    assert denied(deployment) == removed, denied(deployment)
