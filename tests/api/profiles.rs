//! Profiles: create, read, change, delete.

use tests::service::{Api, json};

#[tokio::test]
async fn a_profile_is_created_with_defaults_and_read_back() {
    let api = Api::start().await;
    let answer = api.post("/profiles", &json!({ "first_name": " Ada " })).await;
    let profile = answer.with(201);
    let id = profile["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), format!("/profiles/{id}"));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(uuid::Uuid::parse_str(id).expect("a UUID").get_version_num(), 7);
    let created_at = profile["created_at"].as_str().expect("a time");
    assert!(created_at.len() == 24 && created_at.ends_with('Z'), "{created_at}");
    let expected = json!({
        "id": id, "first_name": "Ada", "last_name": "", "full_name": "Ada", "job_title": "",
        "points": 0, "is_admin": false, "created_at": created_at,
    });
    assert_eq!(profile, expected);
    assert_eq!(api.get(&format!("/profiles/{id}")).await.with(200), expected);
}

#[tokio::test]
async fn all_fields_that_are_not_valid_are_told_at_once() {
    let api = Api::start().await;
    let body = json!({ "first_name": " ", "last_name": 5, "job_title": "x".repeat(101), "points": 7, "colour": "red" });
    let fields = api.post("/profiles", &body).await.invalid_fields();
    assert_eq!(fields, ["colour", "first_name", "job_title", "last_name", "points"]);
    assert_eq!(api.post("/profiles", &json!({})).await.invalid_fields(), ["first_name"]);
    for body in [json!([]), json!("Ada"), json!(null), json!(1)] {
        api.post("/profiles", &body).await.problem(422);
    }
}

#[tokio::test]
async fn names_have_limits_in_characters_and_no_control_characters() {
    let api = Api::start().await;
    let longest = "é".repeat(100);
    let body = json!({ "first_name": longest, "last_name": longest, "job_title": "a\tb\nc" });
    let profile = api.post("/profiles", &body).await.with(201);
    assert_eq!(profile["full_name"], format!("{longest} {longest}"));
    for name in ["", "\u{0}", "a\u{7f}", "\u{85}x", &format!("{longest}é")] {
        assert_eq!(
            api.post("/profiles", &json!({ "first_name": name })).await.invalid_fields(),
            ["first_name"],
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names_and_null_resets() {
    let api = Api::start().await;
    let body = json!({ "first_name": "Ada", "last_name": "Byron", "job_title": "Countess" });
    let profile = api.post("/profiles", &body).await.with(201);
    let path = format!("/profiles/{}", profile["id"].as_str().expect("an id"));

    let patched = api.patch(&path, &json!({ "last_name": "Lovelace" })).await.with(200);
    assert_eq!(patched["full_name"], "Ada Lovelace");
    assert_eq!(patched["job_title"], "Countess");
    let reset = api.patch(&path, &json!({ "job_title": null, "last_name": null })).await.with(200);
    assert_eq!((&reset["job_title"], &reset["full_name"]), (&json!(""), &json!("Ada")));
    assert_eq!(api.patch(&path, &json!({})).await.with(200), reset);
    let plain = api
        .send("PATCH", &path, &[("content-type", "application/json")], r#"{"first_name":"A"}"#)
        .await;
    assert_eq!(plain.with(200)["first_name"], "A");

    let wrong =
        json!({ "first_name": null, "points": 3, "is_admin": true, "id": "x", "full_name": "x" });
    assert_eq!(
        api.patch(&path, &wrong).await.invalid_fields(),
        ["first_name", "full_name", "id", "is_admin", "points"]
    );
    api.patch(&path, &json!([])).await.problem(422);
    assert_eq!(api.get(&path).await.with(200)["points"], 0);
}

#[tokio::test]
async fn a_deleted_profile_is_gone() {
    let api = Api::start().await;
    let path = format!("/profiles/{}", api.profile("Ada").await);
    let deleted = api.delete(&path).await;
    assert_eq!(deleted.with(204), json!(null));
    assert_eq!(deleted.header("content-type"), "");
    api.get(&path).await.problem(404);
    api.patch(&path, &json!({ "first_name": "A" })).await.problem(404);
    api.patch(&path, &json!({})).await.problem(404);
    api.delete(&path).await.problem(404);
}
