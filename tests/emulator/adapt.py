"""The copy of template.yaml that the emulator can run. README.md lists what differs.

As a filter: adapt.py EMULATOR_URL SAMCONFIG [ROLE=ACTION ...] <template.yaml
The copy lacks the permissions that the arguments name.
"""

import io
import json
import logging
import os
import sys
import tomllib
import zipfile
from pathlib import Path

import yaml
from samtranslator.translator.transform import transform

from emulator import REGION, REPOSITORY

# The bucket with the functions.
BUCKET = "functions"
# Resources that the emulator cannot create.
REMOVED = {
    "AWS::Budgets::Budget",
    "AWS::CodeDeploy::Application",
    "AWS::CodeDeploy::DeploymentGroup",
    "AWS::Logs::QueryDefinition",
}


class Loader(yaml.SafeLoader):
    """Reads YAML with the tags of CloudFormation."""


def intrinsic(loader, suffix, node):
    """Returns what a tag such as `!Ref` abbreviates."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", intrinsic)


class NoPolicies:
    """Names no managed policies."""

    @staticmethod
    def load():
        return {}


def parameters(config, environment):
    """Returns the parameters of an environment in samconfig.toml."""
    return tomllib.loads(config)[environment]["deploy"]["parameters"]["parameter_overrides"]


def translate(template, values):
    """Returns the template after SAM's transform. Code comes from `BUCKET`."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    source = yaml.load(template, Loader)
    for resource in source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            folder = resource["Properties"]["CodeUri"]
            resource["Properties"]["CodeUri"] = f"s3://{BUCKET}/{Path(folder).name}"
    return json.loads(json.dumps(transform(source, values, NoPolicies)))


def upload(emulator, template):
    """Puts the functions into a bucket once, so that `sam deploy` need not pack them each time."""
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for resource in yaml.load(template, Loader)["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            folder = REPOSITORY / resource["Properties"]["CodeUri"]
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.write(folder / "bootstrap", "bootstrap")
            s3.put_object(Bucket=BUCKET, Key=folder.name, Body=packed.getvalue())


def split_api(resources):
    """Replaces the body of the HTTP API by routes, integrations and an authorizer."""
    properties = resources["Api"]["Properties"]
    body = properties.pop("Body")
    properties["Name"] = {"Ref": "AWS::StackName"}
    properties["ProtocolType"] = "HTTP"
    api = {"Ref": "Api"}
    [(name, scheme)] = body["components"]["securitySchemes"].items()
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    jwt = {key[0].upper() + key[1:]: value for key, value in authorizer["jwtConfiguration"].items()}
    resources["SplitAuthorizer"] = {
        "Type": "AWS::ApiGatewayV2::Authorizer",
        "Properties": {
            "ApiId": api,
            "Name": name,
            "AuthorizerType": "JWT",
            "IdentitySource": [authorizer["identitySource"]],
            "JwtConfiguration": jwt,
        },
    }
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, item in body["paths"].items()
        for method, operation in item.items()
    ]
    for number, (key, operation) in enumerate(operations):
        integration = operation["x-amazon-apigateway-integration"]
        resources[f"SplitIntegration{number}"] = {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": api,
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": integration["uri"],
                "PayloadFormatVersion": integration["payloadFormatVersion"],
            },
        }
        route = {
            "ApiId": api,
            "RouteKey": key,
            "Target": {"Fn::Sub": f"integrations/${{SplitIntegration{number}}}"},
            "AuthorizationType": "NONE",
        }
        scopes = [
            scopes
            for requirement in operation.get("security", [])
            for scopes in requirement.items()
        ]
        if scopes and scopes[0][0] != "NONE":
            route["AuthorizationType"] = "JWT"
            route["AuthorizerId"] = {"Ref": "SplitAuthorizer"}
            route["AuthorizationScopes"] = scopes[0][1]
        resources[f"SplitRoute{number}"] = {"Type": "AWS::ApiGatewayV2::Route", "Properties": route}
    return body


def match_enclosing_operation(node):
    """Rewrites conditions on the enclosing operation, which the emulator only compares as a set."""
    if isinstance(node, dict):
        if "dynamodb:EnclosingOperation" in node.get("StringEquals", {}):
            node["ForAnyValue:StringEquals"] = node.pop("StringEquals")
        for value in node.values():
            match_enclosing_operation(value)
    elif isinstance(node, list):
        for value in node:
            match_enclosing_operation(value)


def adapt(template, values, emulator_url):
    """Returns the copy for the emulator, and the body of the API that it replaces."""
    copy = translate(template, values)
    resources = copy["Resources"]
    body = split_api(resources)
    for name, resource in list(resources.items()):
        has_metric_math = (
            resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
        )
        if resource["Type"] in REMOVED or has_metric_math:
            del resources[name]
        # CodeDeploy moves the aliases.
        resource.pop("UpdatePolicy", None)
        if resource["Type"] == "AWS::Lambda::EventInvokeConfig":
            resource["Properties"]["Qualifier"] = "$LATEST"
        if resource["Type"] == "AWS::Lambda::Function":
            variables = resource["Properties"]["Environment"]["Variables"]
            variables["AWS_ENDPOINT_URL_DYNAMODB"] = emulator_url
            if "SECRET_ARN" in variables:
                variables["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = emulator_url
                variables["TOKEN_URL"] = f"{emulator_url}/oauth2/token"
                variables["API_URL"] = {"Fn::Sub": api_url(emulator_url, "${Api}")}
            for name, scheme in {"LIVE_URL": "ws", "CONNECTIONS_URL": "http"}.items():
                if name in variables:
                    url = api_url(emulator_url, "${LiveApi}", "live").replace("http", scheme, 1)
                    variables[name] = {"Fn::Sub": url}
    resources.pop("CodeDeployServiceRole", None)
    match_enclosing_operation(resources)
    return copy, body


def api_url(emulator_url, api, stage="$default"):
    """Returns the address of a stage of an API."""
    return f"{emulator_url}/_aws/execute-api/{api}/{stage}"


def without_permission(template, role, action):
    """Removes an action from the policies of a role."""
    for policy in template["Resources"][role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            if action in statement["Action"] and isinstance(statement["Action"], list):
                # A statement needs an action.
                statement["Action"] = [a for a in statement["Action"] if a != action] or [
                    "dynamodb:ListTables"
                ]


def main():
    """Writes the copy of the template on standard input."""
    logging.disable()
    emulator_url, config, *permissions = sys.argv[1:]
    values = parameters(Path(config).read_text(), "dev")
    copy, _ = adapt(sys.stdin.read(), values, emulator_url)
    for permission in permissions:
        without_permission(copy, *permission.split("="))
    json.dump(copy, sys.stdout)


if __name__ == "__main__":
    main()
