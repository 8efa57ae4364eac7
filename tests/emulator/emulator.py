"""The emulator: a process with the APIs of AWS, IAM enforced."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3

REGION = "us-east-1"
REPOSITORY = Path(__file__).parents[2]


def free_port():
    """Returns a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Emulator:
    """A running emulator. Ends with the `with` block."""

    def __init__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.folder = tempfile.TemporaryDirectory(prefix="chat-emulator-")
        self.log = Path(self.folder.name) / "log"
        # `test` is the key of the root user.
        credentials = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }
        self.environment = {
            **os.environ,
            **credentials,
            "AWS_ENDPOINT_URL": self.url,
            "SAM_CLI_TELEMETRY": "0",
        }
        self.environment.pop("AWS_PROFILE", None)
        settings = {
            "AUTH": "true",
            "GATEWAY_PORT": str(port),
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0",
            "LAMBDA_EXECUTOR": "local",
            "TMPDIR": self.folder.name,
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).parent / "ministack")],
                cwd=self.folder.name,
                env={**os.environ, **credentials, **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5):
                    return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"the emulator does not start:\n{self.log.read_text()}"
                    ) from None
                time.sleep(0.1)

    def __exit__(self, kind, *_):
        self.process.terminate()
        self.process.wait()
        if kind:
            print(*self.log.read_text().splitlines()[-40:], sep="\n", file=sys.stderr)
        self.folder.cleanup()

    def client(self, service):
        """Returns a client of a service, as the root user."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def run(self, *command, **variables):
        """Runs a command against the emulator, in the repository's folder. Raises if it fails."""
        environment = {**self.environment, **variables}
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{command} failed:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}")
        return done.stdout


class Stack:
    """A CloudFormation stack."""

    def __init__(self, emulator, name):
        self.emulator = emulator
        self.name = name
        self.cloudformation = emulator.client("cloudformation")

    def describe(self):
        """Returns the description of the stack."""
        return self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]

    def assert_complete(self):
        """Checks that every resource was created or updated."""
        for name, resource in self.resources().items():
            status = resource["ResourceStatus"]
            assert status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), f"{name}: {status}"

    def create_from(self, other, parameters):
        """Creates this stack from the template of another."""
        template = self.cloudformation.get_template(StackName=other.name, TemplateStage="Original")[
            "TemplateBody"
        ]
        body = template if isinstance(template, str) else json.dumps(template)
        # A template of more than 51,200 bytes comes from S3.
        s3 = self.emulator.client("s3")
        s3.create_bucket(Bucket="templates")
        s3.put_object(Bucket="templates", Key="template", Body=body)
        self.cloudformation.create_stack(
            StackName=self.name,
            TemplateURL=f"{self.emulator.url}/templates/template",
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
        self.cloudformation.get_waiter("stack_create_complete").wait(
            StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )

    def delete(self):
        """Deletes the stack and waits until it is gone."""
        self.cloudformation.delete_stack(StackName=self.name)
        self.cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )

    def resources(self):
        """Returns the resources by their logical ids."""
        pages = self.cloudformation.get_paginator("list_stack_resources").paginate(
            StackName=self.name
        )
        return {r["LogicalResourceId"]: r for page in pages for r in page["StackResourceSummaries"]}

    def id(self, logical_id):
        """Returns the physical id of a resource."""
        return self.resources()[logical_id]["PhysicalResourceId"]

    def outputs(self):
        """Returns the outputs by their names."""
        return {
            output["OutputKey"]: output["OutputValue"]
            for output in self.describe().get("Outputs", [])
        }
