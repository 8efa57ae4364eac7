//! The development server: its start, its files, its ports and its authorizer. `local/tests` tests
//! it as a process.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use clap::Parser;
use local::authorizer::{AUDIENCE, Authorizer, ISSUER};
use local::engine;
use local::server::{Options, parser_error, run};
use local::template::Template;
use shared::Table;
use tokio::net::TcpListener;

use tests::service::{Api, Setup, Value, embedded_engine, json, new_table};

/// Where SQLite keeps `user_version` in a file, big-endian. Source:
/// <https://www.sqlite.org/fileformat.html#user_version_number>
const USER_VERSION: std::ops::Range<usize> = 60..64;

/// Starts a server that must fail. Returns its error.
async fn error_of(arguments: &[&str]) -> String {
    let port: &[&str] = if arguments.contains(&"--port") { &[] } else { &["--port", "0"] };
    match Options::try_parse_from([&["local"], port, arguments].concat()) {
        Err(error) => parser_error(&error),
        Ok(mut options) => {
            if !arguments.contains(&"--dynamodb-endpoint") {
                options.dynamodb_endpoint = None;
            }
            run(&options, std::future::pending()).await.expect_err("an error")
        }
    }
}

async fn assert_error(arguments: &[&str], expected: &str) {
    let error = error_of(arguments).await;
    assert!(error.lines().count() == 1 && error.contains(expected), "{arguments:?}: {error}");
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().expect("UTF-8").to_owned()
}

#[tokio::test]
async fn data_in_a_file_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chat.db");
    let template = Template::parse().expect("the template");
    let start = || async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = engine::serve(listener, engine::open(Some(&file)).expect("a database"))
            .expect("an engine");
        let table = Table::connect(&endpoint, "chat");
        table.create(&template.table).await.expect("a new or an existing table");
        Api::serve(&template, table).await
    };
    let api = start().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let key = "01890a5d-ac96-774b-bcce-b302099a8057";
    let (path, body) =
        (format!("/conversations/{id}/messages"), json!({ "author_id": author_id, "text": "x" }));
    let posted = api.post_with_key(&path, key, &body).await.expect(201);

    let api = start().await;
    assert_eq!(api.post_with_key(&path, key, &body).await.expect(201), posted);
    assert_eq!(api.get("/profiles").await.expect(200)["results"][0]["points"], 1);
}

#[tokio::test]
async fn an_unusable_flag_is_one_line_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let origin = "such as http://localhost:5173";
    for (arguments, expected) in [
        (&["--port", port.as_str(), "--in-memory"][..], "choose another with --port"),
        (
            &["--in-memory", "--dynamodb-port", port.as_str()][..],
            "choose another with --dynamodb-port",
        ),
        (&["--cors-origins", "*"][..], origin),
        (&["--cors-origins", "foo"][..], origin),
        (&["--cors-origins", "http://localhost:5173,http://localhost/app"][..], "/app"),
        (&["--host", "0.0.0.0"][..], "--allow-open"),
        (&["--host", "192.0.2.1", "--auth"][..], "--host"),
        (&["--host", "here"][..], "--host"),
        (
            &["--dynamodb-port", "0", "--dynamodb-endpoint", "http://127.0.0.1:1"][..],
            "--dynamodb-port",
        ),
    ] {
        assert_error(arguments, expected).await;
    }
}

#[tokio::test]
async fn an_unusable_database_file_is_one_line_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = path(&folder, "text.db");
    fs::write(&text, "This is a text, and longer than the header of a database.\n".repeat(9))
        .expect("a file");
    let directory = path(&folder, "");
    for (file, expected) in [
        (text.as_str(), "text.db: not a usable database file"),
        (directory.as_str(), "is a directory"),
        (&path(&folder, "missing/chat.db"), "missing/chat.db: not a usable database file"),
        // Nothing can be created there, even by root.
        ("/proc/chat.db", "/proc/chat.db: not a usable database file"),
    ] {
        assert_error(&["--database", file], expected).await;
    }
}

#[tokio::test]
async fn a_database_of_another_format_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = path(&folder, "chat.db");
    let template = Template::parse().expect("the template");
    let database = engine::open(Some(Path::new(&file))).expect("a database");
    let table = Table::with_http_client(engine::client(database), "chat");
    table.create(&template.table).await.expect("a table");
    drop(table);
    let current = fs::read(&file).expect("a file");
    engine::open(Some(Path::new(&file))).expect("a database of this format");

    for (format, expected) in [(0_u32, "an older version"), (2, "an older"), (4, "a newer version")]
    {
        let mut other = current.clone();
        assert_eq!(other[USER_VERSION], 3_u32.to_be_bytes());
        other[USER_VERSION].copy_from_slice(&format.to_be_bytes());
        fs::write(&file, &other).expect("written");
        let error = error_of(&["--database", &file]).await;
        assert!(error.lines().count() == 1 && error.starts_with(&file), "{error}");
        assert!(error.contains(expected) && error.contains("--database"), "{error}");
        assert_eq!(fs::read(&file).expect("a file"), other);
    }
}

#[tokio::test]
async fn an_unusable_endpoint_is_one_line_that_names_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let no_dynamodb = format!("http://{}", listener.local_addr().expect("an address"));
    let hello = Router::new().fallback(|| async { "<html>\nHello\n</html>" });
    tokio::spawn(async move { axum::serve(listener, hello).await });
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nothing = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    for endpoint in [no_dynamodb.as_str(), &nothing, "foo", "localhost:8000", "ftp://x", "http://"]
    {
        assert_error(&["--dynamodb-endpoint", endpoint], endpoint).await;
    }
}

#[tokio::test]
async fn the_engine_refuses_web_pages_and_foreign_hosts() {
    let endpoint = embedded_engine().await;
    let (_, table) = new_table(&endpoint).await;
    let engine = Api::connect(&endpoint);
    let target = ("x-amz-target", "DynamoDB_20120810.ListTables");
    let json = ("content-type", "application/x-amz-json-1.0");
    let list = |headers: &[(&'static str, &'static str)]| {
        let (engine, headers) = (engine.clone(), [&[target, json], headers].concat());
        async move { engine.send("POST", "/", &headers, "{}").await }
    };
    let names = list(&[]).await.expect(200);
    assert_eq!(names["TableNames"].as_array().map(Vec::len), Some(1));
    list(&[("host", "localhost:8000")]).await.expect(200);
    list(&[("host", "host.docker.internal:8000")]).await.expect(200);

    for origin in ["http://evil.example", "null", "http://localhost:3000"] {
        assert!(list(&[("origin", origin)]).await.expect(403)["message"].is_string());
    }
    assert!(list(&[("host", "evil.example:8000")]).await.expect(421)["message"].is_string());
    let preflight = [
        ("origin", "http://evil.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type,x-amz-target"),
    ];
    let refused = engine.send("OPTIONS", "/", &preflight, "").await;
    refused.expect_status(403);
    assert_eq!(refused.header("access-control-allow-origin"), "");
    drop(table);
}

#[tokio::test]
async fn the_api_refuses_foreign_hosts_also_before_cors() {
    let origin = "http://localhost:5173";
    let api = Setup::new().origin(origin).start().await.api;
    for host in ["localhost", "127.0.0.1:3000", "[::1]:3000"] {
        api.send("GET", "/profiles", &[("host", host)], "").await.expect(200);
    }
    let json = ("content-type", "application/json");
    for host in ["evil.example", "localhost.evil.example", "192.0.2.1"] {
        let preflight = [
            ("host", host),
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        for (method, headers, body) in [
            ("GET", &[("host", host)][..], ""),
            ("POST", &[("host", host), json][..], r#"{"first_name":"Eve"}"#),
            ("OPTIONS", &preflight[..], ""),
        ] {
            let refused = api.send(method, "/profiles", headers, body).await;
            assert!(refused.expect(421)["message"].is_string());
            assert_eq!(refused.header("access-control-allow-origin"), "");
        }
    }
    assert_eq!(api.get("/profiles").await.expect(200)["results"], json!([]));
}

#[tokio::test]
async fn the_authorizer_refuses_what_api_gateway_refuses() {
    let authorizer = Arc::new(Authorizer::generate().expect("a key"));
    let api = Setup::new().authorizer(authorizer.clone()).start().await.api;
    let now = jsonwebtoken::get_current_timestamp();
    let claims = |name: &str, value: Value| {
        let mut claims = json!({
            "sub": "ada", "iss": ISSUER, "client_id": AUDIENCE, "scope": "chat/read",
            "iat": now, "exp": now + 3600,
        });
        claims[name] = value;
        claims
    };
    let with_header = |name: &str, value: Value| {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        header[name] = value;
        authorizer.sign_with_header(&header, &claims("x", Value::Null)).expect("a token")
    };
    let with_claim =
        |name: &str, value: Value| authorizer.sign(&claims(name, value)).expect("a token");
    for (token, status) in [
        (with_claim("x", json!(["y"])), 200),
        (with_header("kid", json!("1")), 200),
        (with_header("crit", json!(["b64"])), 401),
        (with_header("crit", json!([])), 401),
        (with_header("alg", json!("RS512")), 401),
        (with_header("alg", json!("none")), 401),
        (with_claim("iss", json!([ISSUER])), 401),
        (with_claim("iss", json!([ISSUER, "https://evil.example"])), 401),
        (with_claim("iss", Value::Null), 401),
        (with_claim("sub", Value::Null), 401),
        (with_claim("sub", json!(7)), 401),
        (with_claim("sub", json!(["ada"])), 401),
        (with_claim("exp", json!(now.to_string())), 401),
        (with_claim("nbf", json!("soon")), 401),
    ] {
        let authorization = format!("Bearer {token}");
        let response = api.send("GET", "/profiles", &[("authorization", &authorization)], "").await;
        assert_eq!(response.status.as_u16(), status, "{token}");
    }
}

#[tokio::test]
async fn a_member_of_the_group_admin_is_an_administrator_as_in_the_cloud() {
    let authorizer = Arc::new(Authorizer::generate().expect("a key"));
    let api = Setup::new().authorizer(authorizer.clone()).start().await.api;
    let now = jsonwebtoken::get_current_timestamp();
    let token = |subject: &str, groups: Value| {
        let claims = json!({
            "sub": subject, "iss": ISSUER, "client_id": AUDIENCE, "cognito:groups": groups,
            "scope": "chat/read chat/write", "iat": now, "exp": now + 3600,
        });
        format!("Bearer {}", authorizer.sign(&claims).expect("a token"))
    };
    let ada = token("ada", json!([]));
    let headers = [("authorization", ada.as_str()), ("content-type", "application/json")];
    let profile = api.send("POST", "/profiles", &headers, r#"{"first_name":"Ada"}"#).await;
    let path = format!("/profiles/{}", profile.expect(201)["id"].as_str().expect("an id"));
    for (groups, status) in
        [(json!(["staff"]), 403), (json!(["admins"]), 403), (json!(["staff", "admin"]), 204)]
    {
        let other = token("grace", groups);
        api.send("DELETE", &path, &[("authorization", &other)], "").await.expect_status(status);
    }
}

#[test]
fn the_key_of_the_tokens_is_kept_in_a_private_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chat.db.key");
    let load = || Authorizer::load_or_generate(&file);
    let hour = std::time::Duration::from_secs(3600);
    let token = load().expect("a new key").token("ada", "chat/read", hour).expect("a token");
    let scopes = ["chat/read".to_owned()];
    assert!(load().expect("the same key").authorize(Some(&token), &scopes).is_ok());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(
        fs::read_dir(folder.path()).expect("a folder").count(),
        1,
        "no temporary file is left"
    );

    fs::write(&file, "not a key\n").expect("written");
    let error = load().expect_err("an error");
    assert!(error.lines().count() == 1 && error.contains("chat.db.key"), "{error}");
    assert_eq!(fs::read_to_string(&file).expect("a file"), "not a key\n");
}

#[tokio::test]
async fn a_panic_ends_its_own_invocation_only() {
    let template = Template::parse().expect("the template");
    let database = engine::open(None).expect("a database");
    let engine = database.clone();
    let client = engine::answered_by(move |target, body| {
        assert!(!target.ends_with(".Query"), "a panic in the middle of a request");
        std::future::ready(Some(engine::answer(&engine, &target, &body)))
    });
    let table = Table::with_http_client(client, "chat");
    table.create(&template.table).await.expect("a table");
    let api = Api::serve(&template, table).await;
    for _ in 0..3 {
        let failed = api.get("/profiles").await.expect(500);
        assert_eq!(failed, json!({ "message": "Internal Server Error" }));
        api.profile("Ada").await;
    }
}
