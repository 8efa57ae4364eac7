"""The deployment `dev` on the emulator."""

import json
import re
import sys
import tempfile
from pathlib import Path

import adapt
import api
from emulator import REPOSITORY, Stack


class Deployment:
    """The stacks of `dev`, and what earlier steps left for later ones."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.state = Stack(emulator, "chat-dev-state")
        self.service = Stack(emulator, "chat-dev")
        self.config = (REPOSITORY / "samconfig.toml").read_text()
        self.source = (REPOSITORY / "template.yaml").read_text()
        adapt.upload(emulator, self.source)
        # A conversation that must survive everything, and its author.
        self.conversation = self.author = None

    def deploy(self, without=()):
        """Deploys state and service, `without` permissions such as `Role=action`."""
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "samconfig.toml"
            config.write_text(self.config)
            script = Path(adapt.__file__)
            filter = " ".join(
                [sys.executable, str(script), self.emulator.url, str(config), *without]
            )
            self.emulator.run(
                ".github/deploy", "dev", SAM_CONFIG=str(config), TEMPLATE_FILTER=filter
            )
        for stack in (self.state, self.service):
            stack.assert_complete()

    def copy(self):
        """Returns the copy of the template, and the body of the API."""
        values = adapt.parameters(self.config, "dev")
        return adapt.adapt(self.source, values, self.emulator.url)

    def configure(self, name, value):
        """Changes a parameter of `dev` or `dev-state` in samconfig.toml."""
        # The first occurrence is that of dev.
        changed, count = re.subn(
            f'^{name} = ".*"$', f'{name} = "{value}"', self.config, count=1, flags=re.M
        )
        assert count == 1, name
        self.config = changed

    def api(self, scope="chat/read chat/write"):
        """Returns the API as the client `backend` sees it."""
        outputs = self.state.outputs()
        token = api.machine_token(
            self.emulator, outputs["UserPoolId"], outputs["BackendClientId"], scope
        )
        return api.Api(adapt.api_url(self.emulator.url, self.service.id("Api")), token)

    def post(self, text):
        """Posts a message into the conversation. Returns the response."""
        return self.api().post(
            f"{self.conversation}/messages", {"author_id": self.author, "text": text}
        )

    def texts(self):
        """Returns the texts of the conversation, oldest first."""
        page = self.api().get(f"{self.conversation}/messages?after=0").expect(200)
        return [message["text"] for message in page["results"]]

    def send(self, logical_id, event):
        """Invokes a function with an event. Returns Lambda's response."""
        alias = self.service.id(f"{logical_id}Aliaslive")
        return self.emulator.client("lambda").invoke(FunctionName=alias, Payload=json.dumps(event))

    def invoke(self, logical_id):
        """Invokes a function as its schedule does. Returns the name of its error, if it fails."""
        response = self.send(logical_id, {})
        payload = response["Payload"].read()
        return f"{response['FunctionError']}: {payload}" if "FunctionError" in response else None

    def answer(self, logical_id, event):
        """Returns what a function answers to an event."""
        return json.loads(self.send(logical_id, event)["Payload"].read())


def documented(heading):
    """Returns the first commands under a heading of docs/OPERATIONS.md."""
    text = (REPOSITORY / "docs/OPERATIONS.md").read_text()
    return re.search(f"^### {heading}$.*?```sh\n(.*?)```", text, re.M | re.S)[1]
