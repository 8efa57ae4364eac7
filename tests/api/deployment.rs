//! What the templates and `samconfig.toml` promise an operator.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use local::template::{STATE, TEMPLATE};

use tests::service::{Value, json};
use tests::template::{
    SCHEDULED, all_resources, assert_same, functions, properties, root, state_yaml, words, yaml,
};

/// Returns the names of a template's parameters.
fn parameters(template: &Value) -> BTreeSet<String> {
    template["Parameters"].as_object().expect("parameters").keys().cloned().collect()
}

/// Returns the parameters in `samconfig.toml` of each environment, such as `dev-state`.
fn configured() -> BTreeMap<String, BTreeMap<String, String>> {
    let config = fs::read_to_string(root().join("samconfig.toml")).expect("samconfig.toml");
    let config: toml::Table = config.parse().expect("TOML");
    let environments = config.into_iter().filter(|(_, value)| value.is_table());
    let parameters = |environment: &toml::Value| {
        let values = &environment["deploy"]["parameters"]["parameter_overrides"];
        let values = values.as_table().expect("parameters").iter();
        values.map(|(key, value)| (key.clone(), value.as_str().expect("text").into())).collect()
    };
    environments.map(|(name, value)| (name, parameters(&value))).collect()
}

#[test]
fn a_deployment_never_loses_a_parameter() {
    let configured = configured();
    let names: Vec<&str> = configured.keys().map(String::as_str).collect();
    assert_eq!(names, ["dev", "dev-state", "prod", "prod-state"]);
    for (name, values) in &configured {
        let template = if name.ends_with("-state") { state_yaml() } else { yaml() };
        let values = values.keys().cloned().collect();
        assert_same(name, &values, "the template's parameters", &parameters(&template));
    }
}

#[test]
fn the_service_takes_over_what_its_state_stack_publishes() {
    let published = properties("AWS::SSM::Parameter").into_values();
    let published: BTreeSet<String> =
        published.map(|parameter| parameter["Name"].as_str().expect("a name").into()).collect();
    for environment in ["dev", "prod"] {
        let declared = &yaml()["Parameters"];
        let taken = configured()[environment].clone().into_iter();
        let taken = taken.filter(|(name, _)| {
            declared[name]["Type"].as_str().is_some_and(|kind| kind.contains("SSM::Parameter"))
        });
        let stack = format!("/chat-{environment}-state/");
        let taken = taken.map(|(_, value)| value.replace(&stack, "/${AWS::StackName}/")).collect();
        assert_same("state.yaml", &published, environment, &taken);
    }
}

#[test]
fn what_outlives_the_service_is_protected() {
    let kept = ["AWS::DynamoDB::", "AWS::Cognito::"];
    let is_kept = |resource: &Value| {
        let kind = resource["Type"].as_str().expect("a type");
        kept.iter().any(|prefix| kind.starts_with(prefix))
    };
    let service = yaml()["Resources"].as_object().expect("resources").clone();
    for (name, resource) in service {
        assert!(!is_kept(&resource), "{name} would be deleted with the service");
    }
    let state = state_yaml()["Resources"].as_object().expect("resources").clone();
    for (name, resource) in state.iter().filter(|(_, resource)| is_kept(resource)) {
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            assert_eq!(resource[policy], "Retain", "{name}");
        }
    }
    assert_eq!(state["Table"]["Properties"]["DeletionProtectionEnabled"], true);
    assert_eq!(state["Users"]["Properties"]["DeletionProtection"], "ACTIVE");
}

/// The properties that name a resource in its account and region.
const NAMES: [&str; 13] = [
    "AlarmName",
    "BudgetName",
    "DashboardName",
    "DomainName",
    "FunctionName",
    "LogGroupName",
    "ManagedPolicyName",
    "Name",
    "QueueName",
    "RoleName",
    "TableName",
    "TopicName",
    "UserPoolName",
];

#[test]
fn two_stacks_fit_into_one_account_and_region() {
    for (name, resource) in all_resources() {
        // A pool's resources are named within the pool, a record within its zone.
        let kind = resource["Type"].as_str().expect("a type");
        let local = [
            "UserPoolResourceServer",
            "RecordSet",
            "ApiMapping",
            "MetricFilter",
            "EventSourceMapping",
        ];
        if local.iter().any(|local| kind.ends_with(local)) {
            continue;
        }
        let properties = &resource["Properties"];
        for properties in [properties, &properties["Budget"]] {
            for property in NAMES.iter().filter(|property| !properties[**property].is_null()) {
                let value = properties[*property].to_string();
                // A domain is the operator's choice.
                let own = value.contains("AWS::StackName") || value.ends_with("DomainName\"");
                assert!(own, "{name}: {property} is {value} in every stack");
            }
        }
    }
    for (function, declared) in functions() {
        let events = declared["Properties"]["Events"].as_object().cloned().unwrap_or_default();
        for event in events.values().filter(|event| event["Type"] == "ScheduleV2") {
            // Otherwise SAM names the schedule after the resource.
            assert_eq!(event["Properties"]["OmitName"], true, "{function}");
        }
    }
}

/// A domain cannot hold an HTTP API and a WebSocket API.
#[test]
fn each_api_can_have_a_domain_of_its_own() {
    let (template, resources) = (yaml(), all_resources());
    for (prefix, stage) in [("", "ApiApiGatewayDefaultStage"), ("Live", "LiveApi.Stage")] {
        let (domain, parameter) = (format!("{prefix}Domain"), format!("{prefix}DomainName"));
        let (mapping, condition) = (format!("{domain}Mapping"), format!("Has{domain}"));
        assert_eq!(template["Parameters"][&parameter]["Default"], "", "{parameter} is optional");
        assert_eq!(template["Conditions"][&condition], json!([[parameter, ""]]));
        assert_eq!(resources[&domain]["Properties"]["DomainName"], parameter);
        let maps = json!({ "ApiId": format!("{prefix}Api"), "DomainName": domain, "Stage": stage });
        assert_eq!(resources[&mapping]["Properties"], maps);
        for name in [domain, mapping] {
            assert_eq!(resources[&name]["Condition"], condition, "{name}");
        }
    }
    let rule = &template["Rules"]["LiveDomain"]["Assertions"][0]["Assert"];
    assert_eq!(rule, &json!([[["CertificateArn", ""]], [["LiveDomainName", "DomainName"]]]));
}

#[test]
fn no_template_depends_on_the_partition() {
    for template in [TEMPLATE, STATE] {
        assert!(!template.contains("amazonaws.com"), "use AWS::URLSuffix");
        assert!(!template.contains("arn:aws:"), "use AWS::Partition");
    }
    let mut resources = state_yaml();
    resources["Mappings"] = Value::Null;
    assert!(!resources.to_string().contains("amazoncognito.com"), "use the mapping SignInDomain");
}

#[test]
fn a_failed_run_of_a_scheduled_function_is_kept_and_raises_an_alarm() {
    let functions = functions();
    for function in SCHEDULED {
        let properties = &functions[function]["Properties"];
        let destination = &properties["EventInvokeConfig"]["DestinationConfig"]["OnFailure"];
        assert_eq!(destination["Destination"], "FailedRuns.Arn", "{function}");
        let schedule = &properties["Events"]["Schedule"]["Properties"];
        assert_eq!(schedule["DeadLetterConfig"]["Arn"], "FailedRuns.Arn", "{function}");
    }
    let alarms = properties("AWS::CloudWatch::Alarm");
    let alarm = &alarms["FailedRunsAlarm"];
    assert_eq!(alarm["MetricName"], "ApproximateNumberOfMessagesVisible");
    assert_eq!(alarm["Dimensions"][0]["Value"], "FailedRuns.QueueName");
}

#[test]
fn one_error_or_one_slow_request_among_twenty_raises_no_alarm() {
    let alarms = properties("AWS::CloudWatch::Alarm");
    for (name, guard) in [
        ("ServerErrors", "IF(errors >= 5, errors / count, 0)"),
        ("SlowAnswers", "IF(count >= 100, latency, 0)"),
    ] {
        assert_eq!(alarms[name]["Metrics"][0]["Expression"], guard, "{name}");
    }
    // The average of three runs of the smoke test, one of them failed, is 0.67.
    let smoke_test = &alarms["SmokeTestFailed"];
    assert_eq!(
        (&smoke_test["Statistic"], &smoke_test["Threshold"]),
        (&json!("Average"), &json!(0.5))
    );
    for (name, alarm) in &alarms {
        for actions in ["AlarmActions", "OKActions"] {
            assert_eq!(alarm[actions], json!(["Alarms"]), "{name}");
        }
    }
}

/// Variables of API Gateway whose values contain no quotes and say nothing about a person.
const SAFE: [&str; 12] = [
    "authorizer.claims.client_id",
    "error.responseType",
    "identity.sourceIp",
    "integration.integrationStatus",
    "integration.status",
    "integrationLatency",
    "requestId",
    "requestTime",
    "responseLatency",
    "responseLength",
    "routeKey",
    "status",
];

#[test]
fn each_line_of_the_access_log_is_json_and_names_the_client() {
    let api = &properties("AWS::Serverless::HttpApi")["Api"];
    let format = api["AccessLogSettings"]["Format"].as_str().expect("a format");
    let line: BTreeMap<String, String> = serde_json::from_str(format).expect("JSON");
    let variables: BTreeSet<String> = line.into_values().collect();
    let safe = SAFE.iter().map(|variable| format!("$context.{variable}")).collect();
    assert_same("the access log", &variables, "the safe variables", &safe);
}

#[test]
fn a_first_customer_meets_neither_limits_nor_optional_costs() {
    let parameters = &yaml()["Parameters"];
    let default = |name: &str| parameters[name]["Default"].clone();
    // 2,000 clients that poll every two seconds.
    assert_eq!(default("ThrottlingRate"), 1000);
    assert_eq!(default("DetailedMetrics"), "false");
    assert_eq!(default("Tracing"), "Disabled");
    assert_eq!(default("MonthlyBudget"), 0);
    // A new account has ten concurrent executions, and none to reserve.
    assert_eq!(default("DocumentationConcurrency"), 0);
    let documentation = &functions()["get-documentation"]["Properties"];
    let reserved = &documentation["ReservedConcurrentExecutions"];
    assert_eq!(reserved[0], "HasDocumentationConcurrency");
}

#[test]
fn requests_that_the_gateway_refuses_raise_an_alarm() {
    let filters = properties("AWS::Logs::MetricFilter");
    let pattern = &filters["ThrottledRequestCount"]["FilterPattern"];
    assert_eq!(pattern, r#"{ $.status = "429" && $.integrationStatus != "429" }"#);
    assert_eq!(properties("AWS::CloudWatch::Alarm")["ThrottledRequests"]["Threshold"], 100);
}

#[test]
fn a_bad_version_is_rolled_back_and_a_new_one_takes_over_each_parameter() {
    let function = &yaml()["Globals"]["Function"];
    assert_eq!(function["AutoPublishAlias"], "live");
    let deployment = &function["DeploymentPreference"];
    assert_eq!(deployment["Type"], "Deployment");
    assert_eq!(deployment["Alarms"][1], json!(["FailedRequests"]));
    // The text that `.github/deploy` replaces.
    assert_eq!(function["AutoPublishAliasAllProperties"], true);
    assert_eq!(function["Environment"]["Variables"]["RELEASE"], "none");
    for (name, declared) in functions() {
        let gradual = declared["Properties"]["DeploymentPreference"]["Enabled"].is_null();
        assert_eq!(gradual, !SCHEDULED.contains(&&*name), "{name}");
    }
}

#[test]
fn an_operator_finds_each_alarm_and_each_query_in_the_documentation() {
    let operations = fs::read_to_string(root().join("docs/OPERATIONS.md")).expect("a document");
    for alarm in properties("AWS::CloudWatch::Alarm").keys() {
        assert!(operations.contains(&format!("\n### `{alarm}`\n")), "{alarm} has no runbook");
    }
    for query in properties("AWS::Logs::QueryDefinition").values() {
        let name = query["Name"].as_str().expect("a name").replace("${AWS::StackName}/", "");
        assert!(operations.contains(&format!("\n| `{name}` |")), "{name} is not explained");
    }
    let dashboard = &properties("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"][0];
    let dashboard: Value = serde_json::from_str(dashboard.as_str().expect("text")).expect("JSON");
    assert_eq!(dashboard["widgets"].as_array().map(Vec::len), Some(5));
}

/// Every holder of a client can request all of its scopes. So `chat/admin` would make each holder
/// an administrator. With `aws.cognito.signin.user.admin` users change their own account, so that
/// scope has a client of its own, whose tokens the API refuses.
#[test]
fn no_client_can_request_more_scopes_than_it_needs() {
    let clients = properties("AWS::Cognito::UserPoolClient");
    let expected: [(&str, &str, &[&str]); 4] = [
        ("AccountClient", "code", &["openid", "aws.cognito.signin.user.admin"]),
        ("BackendClient", "client_credentials", &["chat/read", "chat/write"]),
        ("SmokeTestClient", "client_credentials", &["chat/read", "chat/write"]),
        ("WebClient", "code", &["openid", "chat/read", "chat/write"]),
    ];
    assert_eq!(clients.len(), expected.len());
    for (name, flow, scopes) in expected {
        let client = &clients[name];
        assert_eq!(client["AllowedOAuthFlowsUserPoolClient"], true, "{name}: flows are limited");
        assert_eq!(words(&client["AllowedOAuthFlows"]), [flow], "{name}");
        assert_eq!(words(&client["AllowedOAuthScopes"]), scopes, "{name}");
        // A web page or an app cannot keep a secret. A backend proves its identity by the secret.
        assert_eq!(client["GenerateSecret"], flow == "client_credentials", "{name}");
        for flow in words(&client["ExplicitAuthFlows"]) {
            let harmless = ["ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_CUSTOM_AUTH"];
            assert!(harmless.contains(&flow), "{name}: passwords on the sign-in page only");
        }
    }
    let server = &properties("AWS::Cognito::UserPoolResourceServer")["Scopes"];
    assert_eq!(server["Identifier"], "chat");
    let scopes = server["Scopes"].as_array().expect("scopes").iter();
    let scopes: Vec<&Value> = scopes.map(|scope| &scope["ScopeName"]).collect();
    assert_eq!(scopes, ["read", "write", "admin"]);
    let audience = &properties("AWS::SSM::Parameter")["Audience"]["Value"];
    let own = "${WebClient},${BackendClient},${SmokeTestClient}";
    let accepted = json!([
        "HasOwnPool",
        ["HasAudience", format!("{own},${{JwtAudience}}"), own],
        "JwtAudience"
    ]);
    assert_eq!(audience, &accepted, "tokens of AccountClient are refused");
}

#[test]
fn one_mail_address_is_one_user() {
    let pool = &properties("AWS::Cognito::UserPool")["Users"];
    assert_eq!(pool["UsernameConfiguration"]["CaseSensitive"], false);
}

#[test]
fn a_stolen_refresh_token_stops_working_when_its_owner_uses_it() {
    for (name, client) in properties("AWS::Cognito::UserPoolClient") {
        let is_public = client["GenerateSecret"] == false;
        assert_eq!(client["RefreshTokenRotation"]["Feature"] == "ENABLED", is_public, "{name}");
        // Cognito refuses both at once.
        let flow = words(&client["ExplicitAuthFlows"]).contains(&"ALLOW_REFRESH_TOKEN_AUTH");
        assert_eq!(flow, !is_public, "{name}");
    }
}

#[test]
fn users_can_enrol_an_authenticator_app() {
    let pool = &properties("AWS::Cognito::UserPool")["Users"];
    assert_eq!(pool["EnabledMfas"], json!(["SOFTWARE_TOKEN_MFA"]));
    assert_eq!(pool["MfaConfiguration"], "Mfa");
    let clients = properties("AWS::Cognito::UserPoolClient");
    let enrols = words(&clients["AccountClient"]["AllowedOAuthScopes"])
        .contains(&"aws.cognito.signin.user.admin");
    assert!(enrols, "AssociateSoftwareToken needs this scope");
}

#[test]
fn users_cannot_sign_up_unless_the_operator_allows_it() {
    assert_eq!(state_yaml()["Parameters"]["SelfSignUp"]["Default"], "false");
}
