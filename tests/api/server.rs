//! The development server itself: what survives a restart, and what it says when it cannot start.

use clap::Parser;
use local::engine;
use local::server::{Options, run};
use local::template::{TEMPLATE, Template};
use shared::Table;
use tokio::net::TcpListener;

use tests::service::{Api, json};

#[tokio::test]
async fn data_in_a_file_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chat.db");
    let template = Template::parse(TEMPLATE).expect("the template");
    let start = || async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = engine::serve(listener, engine::open(Some(&file)).expect("a database"))
            .expect("an engine");
        let table = Table::connect(&endpoint, "chat");
        table.create(&template.table).await.expect("the table, new or not");
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
async fn a_server_that_cannot_start_says_why_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let no_file = folder.path().to_str().expect("a path");
    for (arguments, expected) in [
        (vec!["--port", &port, "--in-memory"], "choose another with --port"),
        (
            vec!["--port", "0", "--in-memory", "--dynamodb-port", &port],
            "choose another with --dynamodb-port",
        ),
        (vec!["--port", "0", "--dynamodb-port", "0", "--database", no_file], no_file),
    ] {
        let mut options =
            Options::try_parse_from([&["local"], arguments.as_slice()].concat()).expect("flags");
        options.dynamodb_endpoint = None;
        let error = run(&options, std::future::pending()).await.expect_err("it cannot start");
        assert!(error.lines().count() == 1 && error.contains(expected), "{error}");
    }
}
