"""Steps about the service: requests, sign-in, permissions, updates."""

import json

import adapt
import api
from deployment import documented
from emulator import REPOSITORY, Stack

PASSWORD = "A-password-1"
USER = "ada@example.com"


def deploys_state_and_service(deployment):
    """`.github/deploy dev` creates both stacks, and every resource is complete."""
    deployment.deploy()
    state = deployment.state.describe()
    assert state["EnableTerminationProtection"], "the state is not protected"
    template, _ = deployment.copy()
    # The names of versions contain the release.
    declared = {
        name: r for name, r in template["Resources"].items() if r["Type"] != "AWS::Lambda::Version"
    }
    missing = {name for name, r in declared.items() if "Condition" not in r} - set(
        deployment.service.resources()
    )
    assert not missing, missing


def sam_makes_a_list_of_the_origins(deployment):
    """The API admits each origin, although SAM replaces the parameter by a string."""
    _, body = deployment.copy()
    [_, origins, _] = body["x-amazon-apigateway-cors"]["Fn::If"]
    assert origins["allowOrigins"] == {"Fn::Split": [",", "http://localhost:3000"]}, origins


def the_authorizer_admits_only_tokens_with_the_scope(deployment):
    """401 without a token, 403 without the scope, 2xx with it. The documentation needs none."""
    writer, reader = deployment.api(), deployment.api("chat/read")
    nobody = api.Api(writer.url, None)
    nobody.get("/profiles").expect(401)
    nobody.get("/openapi.json").expect(200)
    api.Api(writer.url, writer.token[:-4] + "AAAA").get("/profiles").expect(401)
    reader.get("/profiles").expect(200)
    reader.post("/profiles", {"first_name": "Ada"}).expect(403)
    deployment.author, deployment.conversation = writer.post_conversation()
    deployment.post("First").expect(201)


def the_first_request_of_the_documentation_works(deployment):
    """The commands of docs/OPERATIONS.md get a token and create a profile."""
    outputs = deployment.state.outputs()
    # The domain of the user pool is the emulator's.
    variables = {**outputs, "SignInUrl": deployment.emulator.url, "ApiUrl": deployment.api().url}
    printed = deployment.emulator.run("bash", "-euc", documented("First request"), **variables)
    assert json.loads(printed)["first_name"] == "Ada", printed


def the_smoke_test_passes(deployment):
    """The smoke test passes, from a terminal and as a function."""
    current = deployment.api()
    command = REPOSITORY / "target/lambda/smoke-test/bootstrap"
    deployment.emulator.run(str(command), current.url, TOKEN=current.token)
    assert deployment.invoke("SmokeTest") is None, deployment.invoke("SmokeTest")


def the_scheduled_functions_run(deployment):
    """Each schedule starts its function, which may do what it does."""
    assert deployment.invoke("PurgeDeleted") is None
    scheduler = deployment.emulator.client("scheduler")
    for function in ("PurgeDeleted", "SmokeTest"):
        name = deployment.service.id(f"{function}Schedule")
        target = scheduler.get_schedule(Name=name.split("|")[-1])["Target"]
        assert target["Arn"] == deployment.service.id(f"{function}Aliaslive"), target
        assert "FailedRuns" in target["DeadLetterConfig"]["Arn"], target


def a_user_signs_in_and_enrols_an_authenticator_app(deployment):
    """A user signs in with PKCE. The client `account` enrols an app; the API refuses its tokens."""
    cognito, outputs = deployment.emulator.client("cognito-idp"), deployment.state.outputs()
    pool = outputs["UserPoolId"]
    cognito.admin_create_user(UserPoolId=pool, Username=USER, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(
        UserPoolId=pool, Username=USER, Password=PASSWORD, Permanent=True
    )
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=USER, GroupName="admin")
    url = deployment.api().url
    sign_in = [
        deployment.emulator,
        outputs["WebClientId"],
        "openid chat/read chat/write",
        USER,
        PASSWORD,
    ]
    api.Api(url, api.sign_in(*sign_in)["access_token"]).get(deployment.conversation).expect(200)
    scopes = "openid aws.cognito.signin.user.admin"
    token = api.sign_in(deployment.emulator, outputs["AccountClientId"], scopes, USER, PASSWORD)[
        "access_token"
    ]
    api.Api(url, token).get("/profiles").expect(401)
    secret = cognito.associate_software_token(AccessToken=token)["SecretCode"]
    cognito.verify_software_token(AccessToken=token, UserCode=api.totp(secret))
    preference = {"Enabled": True, "PreferredMfa": True}
    cognito.set_user_mfa_preference(AccessToken=token, SoftwareTokenMfaSettings=preference)
    user = cognito.admin_get_user(UserPoolId=pool, Username=USER)
    assert user["UserMFASettingList"] == ["SOFTWARE_TOKEN_MFA"], user


def a_private_conversation_is_for_its_members(deployment):
    """A user sees a private conversation while a profile of the user is a member."""
    cognito, outputs = deployment.emulator.client("cognito-idp"), deployment.state.outputs()
    user = {"UserPoolId": outputs["UserPoolId"], "Username": "bob@example.com"}
    cognito.admin_create_user(**user, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(**user, Password=PASSWORD, Permanent=True)
    scopes = "openid chat/read chat/write"
    tokens = api.sign_in(
        deployment.emulator, outputs["WebClientId"], scopes, user["Username"], PASSWORD
    )
    owner = deployment.api()
    bob = api.Api(owner.url, tokens["access_token"])
    profile = bob.post("/profiles", {"first_name": "Bob"}).expect(201)["id"]
    _, conversation = owner.post_conversation("private")
    member = f"{conversation}/members/{profile}"
    bob.get(conversation).expect(404)
    owner.put(member, {}).expect(201)
    assert len(bob.get(f"{conversation}/members").expect(200)["results"]) == 2
    bob.post(f"{conversation}/messages", {"author_id": profile, "text": "Hi"}).expect(201)
    bob.put(f"{member}/read", {"seq": 1}).expect(200)
    [entry] = bob.get(f"/profiles/{profile}/conversations").expect(200)["results"]
    assert entry["unread"] == 0, entry
    owner.delete(member).expect(204)
    bob.get(conversation).expect(404)


def a_missing_permission_is_noticed(deployment):
    """Without a permission a post fails. So does the purge, and its failure is kept."""
    deployment.deploy(
        without=["CreateMessageRole=dynamodb:UpdateItem", "PurgeDeletedRole=dynamodb:Query"]
    )
    refused = deployment.post("Refused")
    assert refused.status in (500, 503), refused
    assert "AccessDenied" in deployment.invoke("PurgeDeleted")
    deployment.emulator.client("lambda").invoke(
        FunctionName=deployment.service.id("PurgeDeleted"), InvocationType="Event"
    )
    queue = deployment.service.outputs()["FailedRunsUrl"]
    sqs = deployment.emulator.client("sqs")
    answers = (
        sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages") for _ in range(60)
    )
    [failed] = next(filter(None, answers))
    assert json.loads(failed["Body"])["responseContext"]["functionError"], failed


def an_update_takes_effect(deployment):
    """A changed parameter publishes a new version, which the alias serves."""

    def variables():
        alias = deployment.service.id("CreateMessageAliaslive")
        function = deployment.emulator.client("lambda").get_function_configuration(
            FunctionName=alias
        )
        return function["Environment"]["Variables"]

    assert variables()["POSTS_PER_SECOND"] == "5"
    deployment.configure("PostsPerSecond", "20")
    deployment.deploy()
    assert variables()["POSTS_PER_SECOND"] == "20", variables()
    deployment.post("Second").expect(201)
    assert deployment.invoke("PurgeDeleted") is None


def a_second_stack_fits_into_the_account(deployment):
    """The same template deploys a second time."""
    second = Stack(deployment.emulator, "chat-second")
    second.create_from(deployment.service, adapt.parameters(deployment.config, "dev"))
    second.assert_complete()
    ids = [
        {r["PhysicalResourceId"] for r in s.resources().values()}
        for s in (deployment.service, second)
    ]
    # The emulator lets the second stack take over the resources of the first. A stage has a name
    # within its API.
    shared = (ids[0] & ids[1]) - {"$default", "live"}
    assert not shared, shared
    second.delete()
