"""Rehearses the life of a deployment on the emulator, with the real binaries and IAM enforced.

Each step is a function of a Rehearsal. The steps run in order and build on each other.
"""

import json
import re
import sys
import tempfile
import time
from pathlib import Path

from botocore.exceptions import ClientError

import adapt
import api
from emulator import REPOSITORY, Emulator, Stack

PASSWORD = "A-password-1"
USER = "ada@example.com"


class Rehearsal:
    """The deployment `dev`, and what earlier steps left for later ones."""

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
        """Deploys state and service with `.github/deploy`, `without` permissions such as `Role=action`."""
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "samconfig.toml"
            config.write_text(self.config)
            script = Path(adapt.__file__)
            filter = " ".join([sys.executable, str(script), self.emulator.url, str(config), *without])
            self.emulator.run(".github/deploy", "dev", SAM_CONFIG=str(config), TEMPLATE_FILTER=filter)
        for stack in (self.state, self.service):
            stack.assert_complete()

    def copy(self):
        """Returns the copy of the template, and the body of the API."""
        values = adapt.parameters(self.config, "dev")
        return adapt.adapt(self.source, values, self.emulator.url)

    def configure(self, name, value):
        """Changes a parameter of `dev` or `dev-state` in samconfig.toml."""
        # The first occurrence is that of dev.
        changed, count = re.subn(f'^{name} = ".*"$', f'{name} = "{value}"', self.config, count=1, flags=re.M)
        assert count == 1, name
        self.config = changed

    def api(self, scope="chat/read chat/write"):
        """Returns the API as the client `backend` sees it."""
        outputs = self.state.outputs()
        token = api.machine_token(self.emulator, outputs["UserPoolId"], outputs["BackendClientId"], scope)
        return api.Api(adapt.api_url(self.emulator.url, self.service.id("Api")), token)

    def post(self, text):
        """Posts a message into the conversation. Returns the response."""
        return self.api().post(f"{self.conversation}/messages", {"author_id": self.author, "text": text})

    def texts(self):
        """Returns the texts of the conversation, oldest first."""
        page = self.api().get(f"{self.conversation}/messages?after=0").expect(200)
        return [message["text"] for message in page["results"]]

    def invoke(self, logical_id):
        """Invokes a function as its schedule does. Returns the name of its error, if it fails."""
        alias = self.service.id(f"{logical_id}Aliaslive")
        response = self.emulator.client("lambda").invoke(FunctionName=alias)
        payload = response["Payload"].read()
        return f"{response['FunctionError']}: {payload}" if "FunctionError" in response else None


def documented(heading):
    """Returns the first commands under a heading of docs/OPERATIONS.md."""
    text = (REPOSITORY / "docs/OPERATIONS.md").read_text()
    return re.search(f"^### {heading}$.*?```sh\n(.*?)```", text, re.M | re.S)[1]


def deploys_state_and_service(rehearsal):
    """`.github/deploy dev` creates both stacks, and every resource is complete."""
    rehearsal.deploy()
    state = rehearsal.state.describe()
    assert state["EnableTerminationProtection"], "the state is not protected"
    template, _ = rehearsal.copy()
    # The names of versions contain the release.
    declared = {name: r for name, r in template["Resources"].items() if r["Type"] != "AWS::Lambda::Version"}
    missing = {name for name, r in declared.items() if "Condition" not in r} - set(rehearsal.service.resources())
    assert not missing, missing


def sam_makes_a_list_of_the_origins(rehearsal):
    """The API admits each origin of CorsOrigins, although SAM replaces the parameter by a string."""
    _, body = rehearsal.copy()
    [_, origins, _] = body["x-amazon-apigateway-cors"]["Fn::If"]
    assert origins["allowOrigins"] == {"Fn::Split": [",", "http://localhost:3000"]}, origins


def the_authorizer_admits_only_tokens_with_the_scope(rehearsal):
    """401 without a token, 403 without the scope, 2xx with it. The documentation needs none."""
    writer, reader = rehearsal.api(), rehearsal.api("chat/read")
    nobody = api.Api(writer.url, None)
    nobody.get("/profiles").expect(401)
    nobody.get("/openapi.json").expect(200)
    api.Api(writer.url, writer.token[:-4] + "AAAA").get("/profiles").expect(401)
    reader.get("/profiles").expect(200)
    reader.post("/profiles", {"first_name": "Ada"}).expect(403)
    rehearsal.author, rehearsal.conversation = writer.post_conversation()
    rehearsal.post("First").expect(201)


def the_first_request_of_the_documentation_works(rehearsal):
    """The commands of docs/OPERATIONS.md get a token and create a profile."""
    outputs = rehearsal.state.outputs()
    # The domain of the user pool is the emulator's.
    variables = {**outputs, "SignInUrl": rehearsal.emulator.url, "ApiUrl": rehearsal.api().url}
    printed = rehearsal.emulator.run("bash", "-euc", documented("First request"), **variables)
    assert json.loads(printed)["first_name"] == "Ada", printed


def the_smoke_test_passes(rehearsal):
    """The smoke test passes, from a terminal and as a function."""
    current = rehearsal.api()
    command = REPOSITORY / "target/lambda/smoke-test/bootstrap"
    rehearsal.emulator.run(str(command), current.url, TOKEN=current.token)
    assert rehearsal.invoke("SmokeTest") is None, rehearsal.invoke("SmokeTest")


def the_scheduled_functions_run(rehearsal):
    """Each schedule starts its function, which may do what it does."""
    assert rehearsal.invoke("PurgeDeleted") is None
    scheduler = rehearsal.emulator.client("scheduler")
    for function in ("PurgeDeleted", "SmokeTest"):
        name = rehearsal.service.id(f"{function}Schedule")
        target = scheduler.get_schedule(Name=name.split("|")[-1])["Target"]
        assert target["Arn"] == rehearsal.service.id(f"{function}Aliaslive"), target
        assert "FailedRuns" in target["DeadLetterConfig"]["Arn"], target


def a_user_signs_in_and_enrols_an_authenticator_app(rehearsal):
    """A user signs in with PKCE, and enrols an app with the client `account`, whose tokens the API refuses."""
    cognito, outputs = rehearsal.emulator.client("cognito-idp"), rehearsal.state.outputs()
    pool = outputs["UserPoolId"]
    cognito.admin_create_user(UserPoolId=pool, Username=USER, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username=USER, Password=PASSWORD, Permanent=True)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=USER, GroupName="admin")
    url = rehearsal.api().url
    sign_in = [rehearsal.emulator, outputs["WebClientId"], "openid chat/read chat/write", USER, PASSWORD]
    api.Api(url, api.sign_in(*sign_in)["access_token"]).get(rehearsal.conversation).expect(200)
    scopes = "openid aws.cognito.signin.user.admin"
    token = api.sign_in(rehearsal.emulator, outputs["AccountClientId"], scopes, USER, PASSWORD)["access_token"]
    api.Api(url, token).get("/profiles").expect(401)
    secret = cognito.associate_software_token(AccessToken=token)["SecretCode"]
    cognito.verify_software_token(AccessToken=token, UserCode=api.totp(secret))
    preference = {"Enabled": True, "PreferredMfa": True}
    cognito.set_user_mfa_preference(AccessToken=token, SoftwareTokenMfaSettings=preference)
    user = cognito.admin_get_user(UserPoolId=pool, Username=USER)
    assert user["UserMFASettingList"] == ["SOFTWARE_TOKEN_MFA"], user


def a_missing_permission_is_noticed(rehearsal):
    """Without one permission a post fails, and so does the purge, whose failure is kept in the queue."""
    rehearsal.deploy(without=["CreateMessageRole=dynamodb:UpdateItem", "PurgeDeletedRole=dynamodb:Query"])
    refused = rehearsal.post("Refused")
    assert refused.status in (500, 503), refused
    assert "AccessDenied" in rehearsal.invoke("PurgeDeleted")
    rehearsal.emulator.client("lambda").invoke(
        FunctionName=rehearsal.service.id("PurgeDeleted"), InvocationType="Event"
    )
    queue = rehearsal.service.outputs()["FailedRunsUrl"]
    sqs = rehearsal.emulator.client("sqs")
    answers = (sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages") for _ in range(60))
    [failed] = next(filter(None, answers))
    assert json.loads(failed["Body"])["responseContext"]["functionError"], failed


def an_update_takes_effect(rehearsal):
    """An update of one parameter publishes a new version, which the alias serves. Permissions return."""

    def variables():
        alias = rehearsal.service.id("CreateMessageAliaslive")
        function = rehearsal.emulator.client("lambda").get_function_configuration(FunctionName=alias)
        return function["Environment"]["Variables"]

    assert variables()["POSTS_PER_SECOND"] == "5"
    rehearsal.configure("PostsPerSecond", "20")
    rehearsal.deploy()
    assert variables()["POSTS_PER_SECOND"] == "20", variables()
    rehearsal.post("Second").expect(201)
    assert rehearsal.invoke("PurgeDeleted") is None


def a_second_stack_fits_into_the_account(rehearsal):
    """The same template deploys a second time."""
    second = Stack(rehearsal.emulator, "chat-second")
    second.create_from(rehearsal.service, adapt.parameters(rehearsal.config, "dev"))
    second.assert_complete()
    ids = [{r["PhysicalResourceId"] for r in s.resources().values()} for s in (rehearsal.service, second)]
    # The emulator lets the second stack take over the resources of the first. `$default` is a stage of an API.
    shared = (ids[0] & ids[1]) - {"$default"}
    assert not shared, shared
    second.delete()


def another_issuer_replaces_the_user_pool(rehearsal):
    """With JwtIssuer the state has no pool, and publishes that issuer. It needs an audience."""
    state = Stack(rehearsal.emulator, "chat-issuer-state")
    values = {
        "JwtIssuer": "https://issuer.example",
        "SmokeTestTokenUrl": "https://issuer.example/token",
        "SmokeTestSecretArn": "arn:aws:secretsmanager:us-east-1:000000000000:secret:other",
    }
    try:
        state.create_from(rehearsal.state, values)
        raise AssertionError("every token of that issuer would be accepted")
    except ClientError as error:
        assert "JwtAudience" in str(error), error
    state.create_from(rehearsal.state, {**values, "JwtAudience": "chat"})
    types = {resource["ResourceType"] for resource in state.resources().values()}
    assert types == {"AWS::DynamoDB::Table", "AWS::SSM::Parameter"}, types
    published = rehearsal.emulator.client("ssm").get_parameters_by_path(Path=f"/{state.name}")["Parameters"]
    published = {parameter["Name"].rsplit("/", 1)[1]: parameter["Value"] for parameter in published}
    assert published["issuer"] == values["JwtIssuer"] and published["audience"] == "chat", published
    assert published["smoke-test-secret-arn"] == values["SmokeTestSecretArn"], published
    table = state.id("Table")
    state.delete()
    dynamodb = rehearsal.emulator.client("dynamodb")
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=table)


def snapshot(rehearsal):
    """Returns everything in the table and the pool, and their settings."""
    dynamodb, cognito = rehearsal.emulator.client("dynamodb"), rehearsal.emulator.client("cognito-idp")
    table, pool = rehearsal.state.outputs()["TableName"], rehearsal.state.outputs()["UserPoolId"]
    description = dynamodb.describe_table(TableName=table)["Table"]
    clients = cognito.list_user_pool_clients(UserPoolId=pool, MaxResults=60)["UserPoolClients"]
    return {
        "items": sorted(json.dumps(item, sort_keys=True) for item in dynamodb.scan(TableName=table)["Items"]),
        "table": {key: description[key] for key in ("TableArn", "KeySchema", "DeletionProtectionEnabled")},
        "time to live": dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"],
        "users": [(user["Username"], user["Attributes"]) for user in cognito.list_users(UserPoolId=pool)["Users"]],
        "clients": sorted((client["ClientName"], client["ClientId"]) for client in clients),
    }


def the_service_is_deleted_and_leaves_its_state(rehearsal):
    """Deletes the service: nothing of it is left, and the state is exactly as before."""
    before = snapshot(rehearsal)
    ids = {r["ResourceType"]: r["PhysicalResourceId"] for r in rehearsal.service.resources().values()}
    rehearsal.service.delete()
    assert snapshot(rehearsal) == before
    functions = rehearsal.emulator.client("lambda").list_functions()["Functions"]
    assert not functions, [function["FunctionName"] for function in functions]
    apis = rehearsal.emulator.client("apigatewayv2").get_apis()["Items"]
    assert not apis, apis
    roles = rehearsal.emulator.client("iam").list_roles()["Roles"]
    roles = [role["RoleName"] for role in roles if role["RoleName"].startswith("chat-dev-")]
    assert not roles, roles
    assert ids, "nothing was deployed"


def the_state_refuses_to_be_deleted(rehearsal):
    """Neither the stack of the state nor the table can be deleted by mistake."""
    dynamodb, table = rehearsal.emulator.client("dynamodb"), rehearsal.state.outputs()["TableName"]
    for what, delete in {
        "stack": lambda: rehearsal.state.cloudformation.delete_stack(StackName=rehearsal.state.name),
        "table": lambda: dynamodb.delete_table(TableName=table),
    }.items():
        try:
            delete()
        except ClientError:
            continue
        raise AssertionError(f"the {what} can be deleted")


def the_service_returns_with_all_data_and_users(rehearsal):
    """Deploys the service again: data, users and clients are still there."""
    before = snapshot(rehearsal)
    rehearsal.deploy()
    assert snapshot(rehearsal) == before
    assert "First" in rehearsal.texts(), rehearsal.texts()


def a_restored_table_takes_over(rehearsal):
    """Restores a copy with the commands of docs/OPERATIONS.md and switches to it."""
    commands = documented("Restore the table")
    original = rehearsal.state.outputs()["TableName"]
    dynamodb = rehearsal.emulator.client("dynamodb")
    rehearsal.post("Before the restore").expect(201)
    rehearsal.emulator.run("bash", "-euc", commands.replace("chat-prod", "chat-dev"))
    [restored] = [name for name in dynamodb.list_tables()["TableNames"] if name != original]
    settings = dynamodb.describe_table(TableName=restored)["Table"]
    declared = dynamodb.describe_table(TableName=original)["Table"]
    for setting in ("KeySchema", "AttributeDefinitions", "DeletionProtectionEnabled"):
        assert settings[setting] == declared[setting], f"{setting}: {settings.get(setting)}"
    expiry = dynamodb.describe_time_to_live(TableName=restored)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}, expiry
    backups = dynamodb.describe_continuous_backups(TableName=restored)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"

    rehearsal.configure("RestoredTable", restored)
    rehearsal.deploy()
    assert rehearsal.state.outputs()["TableName"] == restored
    frozen = dynamodb.scan(TableName=original)["Count"]
    assert rehearsal.texts()[-1] == "Before the restore", rehearsal.texts()
    rehearsal.post("After the restore").expect(201)
    assert dynamodb.scan(TableName=original)["Count"] == frozen, "the old table still gets writes"
    the_smoke_test_passes(rehearsal)


# Every run needs these.
FIRST = [deploys_state_and_service, the_authorizer_admits_only_tokens_with_the_scope]
def a_new_stack_adopts_the_state(rehearsal):
    """The stack of the state is deleted and leaves everything behind. `.github/adopt` gives it to a new stack."""
    before, outputs, table = snapshot(rehearsal), rehearsal.state.outputs(), rehearsal.state.id("Table")
    rehearsal.state.cloudformation.update_termination_protection(
        StackName=rehearsal.state.name, EnableTerminationProtection=False
    )
    rehearsal.state.delete()
    # The emulator cannot import a domain.
    pool, cognito = outputs["UserPoolId"], rehearsal.emulator.client("cognito-idp")
    domain = cognito.describe_user_pool(UserPoolId=pool)["UserPool"]["Domain"]
    cognito.delete_user_pool_domain(UserPoolId=pool, Domain=domain)
    rehearsal.emulator.run(".github/adopt", "dev", table, pool)
    rehearsal.deploy()
    adopted = rehearsal.state.outputs()
    assert {**adopted, "SignInUrl": None} == {**outputs, "SignInUrl": None}, adopted
    assert snapshot(rehearsal) == before
    the_smoke_test_passes(rehearsal)


STEPS = [
    sam_makes_a_list_of_the_origins,
    the_first_request_of_the_documentation_works,
    the_smoke_test_passes,
    the_scheduled_functions_run,
    a_user_signs_in_and_enrols_an_authenticator_app,
    a_missing_permission_is_noticed,
    an_update_takes_effect,
    a_second_stack_fits_into_the_account,
    another_issuer_replaces_the_user_pool,
    the_service_is_deleted_and_leaves_its_state,
    the_state_refuses_to_be_deleted,
    the_service_returns_with_all_data_and_users,
    a_restored_table_takes_over,
    a_new_stack_adopts_the_state,
]


def main():
    """Runs all steps, or those that the arguments name. Prints how long each took."""
    names = sys.argv[1:]
    steps = FIRST + [step for step in STEPS if not names or step.__name__ in names]
    with Emulator() as emulator:
        rehearsal = Rehearsal(emulator)
        for step in steps:
            started = time.monotonic()
            step(rehearsal)
            print(f"{time.monotonic() - started:6.1f} s  {step.__name__}", flush=True)
    print(f"test result: ok. {len(steps)} passed; 0 failed")


if __name__ == "__main__":
    main()
