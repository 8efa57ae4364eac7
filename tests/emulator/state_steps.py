"""Steps about what outlives the service: the table and the user pool."""

import json
import re

from botocore.exceptions import ClientError

from deployment import documented
from emulator import Stack
from live_steps import a_post_arrives
from service_steps import the_smoke_test_passes


def another_issuer_replaces_the_user_pool(deployment):
    """With JwtIssuer the state has no pool, and publishes that issuer. It needs an audience."""
    state = Stack(deployment.emulator, "chat-issuer-state")
    values = {
        "JwtIssuer": "https://issuer.example",
        "SmokeTestTokenUrl": "https://issuer.example/token",
        "SmokeTestSecretArn": "arn:aws:secretsmanager:us-east-1:000000000000:secret:other",
    }
    try:
        state.create_from(deployment.state, values)
        raise AssertionError("every token of that issuer would be accepted")
    except ClientError as error:
        assert "JwtAudience" in str(error), error
    state.create_from(deployment.state, {**values, "JwtAudience": "chat"})
    types = {resource["ResourceType"] for resource in state.resources().values()}
    assert types == {"AWS::DynamoDB::Table", "AWS::SSM::Parameter"}, types
    published = deployment.emulator.client("ssm").get_parameters_by_path(Path=f"/{state.name}")[
        "Parameters"
    ]
    published = {parameter["Name"].rsplit("/", 1)[1]: parameter["Value"] for parameter in published}
    assert published["issuer"] == values["JwtIssuer"] and published["audience"] == "chat", published
    assert published["smoke-test-secret-arn"] == values["SmokeTestSecretArn"], published
    table = state.id("Table")
    state.delete()
    dynamodb = deployment.emulator.client("dynamodb")
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=table)


def snapshot(deployment):
    """Returns everything in the table and the pool, and their settings."""
    dynamodb, cognito = deployment.emulator.client("dynamodb"), deployment.emulator.client(
        "cognito-idp"
    )
    table, pool = deployment.state.outputs()["TableName"], deployment.state.outputs()["UserPoolId"]
    description = dynamodb.describe_table(TableName=table)["Table"]
    clients = cognito.list_user_pool_clients(UserPoolId=pool, MaxResults=60)["UserPoolClients"]
    return {
        "items": sorted(
            json.dumps(item, sort_keys=True) for item in dynamodb.scan(TableName=table)["Items"]
        ),
        "table": {
            key: description[key] for key in ("TableArn", "KeySchema", "DeletionProtectionEnabled")
        },
        "time to live": dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"],
        "users": [
            (user["Username"], user["Attributes"])
            for user in cognito.list_users(UserPoolId=pool)["Users"]
        ],
        "clients": sorted((client["ClientName"], client["ClientId"]) for client in clients),
    }


def the_service_is_deleted_and_leaves_its_state(deployment):
    """Deletes the service: nothing of it is left, and the state is exactly as before."""
    before = snapshot(deployment)
    ids = {
        r["ResourceType"]: r["PhysicalResourceId"] for r in deployment.service.resources().values()
    }
    deployment.service.delete()
    assert snapshot(deployment) == before
    functions = deployment.emulator.client("lambda").list_functions()["Functions"]
    assert not functions, [function["FunctionName"] for function in functions]
    mappings = deployment.emulator.client("lambda").list_event_source_mappings()
    assert not mappings["EventSourceMappings"], mappings
    apis = deployment.emulator.client("apigatewayv2").get_apis()["Items"]
    assert not apis, apis
    roles = deployment.emulator.client("iam").list_roles()["Roles"]
    roles = [role["RoleName"] for role in roles if role["RoleName"].startswith("chat-dev-")]
    assert not roles, roles
    assert ids, "nothing was deployed"


def the_state_refuses_to_be_deleted(deployment):
    """Neither the stack of the state nor the table can be deleted by mistake."""
    dynamodb, table = (
        deployment.emulator.client("dynamodb"),
        deployment.state.outputs()["TableName"],
    )
    for what, delete in {
        "stack": lambda: deployment.state.cloudformation.delete_stack(
            StackName=deployment.state.name
        ),
        "table": lambda: dynamodb.delete_table(TableName=table),
    }.items():
        try:
            delete()
        except ClientError:
            continue
        raise AssertionError(f"the {what} can be deleted")


def the_service_returns_with_all_data_and_users(deployment):
    """Deploys the service again: data, users and clients are still there."""
    before = snapshot(deployment)
    deployment.deploy()
    assert snapshot(deployment) == before
    assert "First" in deployment.texts(), deployment.texts()
    a_post_arrives(deployment, "After the return")


def a_restored_table_takes_over(deployment):
    """Restores a copy with the commands of docs/OPERATIONS.md and switches to it."""
    commands = documented("Restore the table")
    original = deployment.state.outputs()["TableName"]
    dynamodb = deployment.emulator.client("dynamodb")
    deployment.post("Before the restore").expect(201)
    printed = deployment.emulator.run("bash", "-euc", commands.replace("chat-prod", "chat-dev"))
    [restored] = [name for name in dynamodb.list_tables()["TableNames"] if name != original]
    settings = dynamodb.describe_table(TableName=restored)["Table"]
    declared = dynamodb.describe_table(TableName=original)["Table"]
    for setting in (
        "KeySchema",
        "AttributeDefinitions",
        "DeletionProtectionEnabled",
        "StreamSpecification",
    ):
        assert settings[setting] == declared[setting], f"{setting}: {settings.get(setting)}"
    expiry = dynamodb.describe_time_to_live(TableName=restored)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}, expiry
    backups = dynamodb.describe_continuous_backups(TableName=restored)[
        "ContinuousBackupsDescription"
    ]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"

    for name in ("RestoredTable", "RestoredStreamArn"):
        deployment.configure(name, re.search(f'^{name} = "(.+)"$', printed, re.M)[1])
    deployment.deploy()
    assert deployment.state.outputs()["TableName"] == restored
    frozen = dynamodb.scan(TableName=original)["Count"]
    assert deployment.texts()[-1] == "Before the restore", deployment.texts()
    a_post_arrives(deployment, "After the restore")
    assert dynamodb.scan(TableName=original)["Count"] == frozen, "the old table still gets writes"
    the_smoke_test_passes(deployment)


def a_new_stack_adopts_the_state(deployment):
    """The stack of the state is deleted. `.github/adopt` gives what it kept to a new stack."""
    before, outputs, table = (
        snapshot(deployment),
        deployment.state.outputs(),
        deployment.state.id("Table"),
    )
    deployment.state.cloudformation.update_termination_protection(
        StackName=deployment.state.name, EnableTerminationProtection=False
    )
    deployment.state.delete()
    # The emulator cannot import a domain.
    pool, cognito = outputs["UserPoolId"], deployment.emulator.client("cognito-idp")
    domain = cognito.describe_user_pool(UserPoolId=pool)["UserPool"]["Domain"]
    cognito.delete_user_pool_domain(UserPoolId=pool, Domain=domain)
    deployment.emulator.run(".github/adopt", "dev", table, pool)
    deployment.deploy()
    adopted = deployment.state.outputs()
    assert {**adopted, "SignInUrl": None} == {**outputs, "SignInUrl": None}, adopted
    assert snapshot(deployment) == before
    a_post_arrives(deployment, "After the adoption")
    the_smoke_test_passes(deployment)
