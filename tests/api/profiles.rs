//! Profiles: create, read, change, delete.

use tests::service::{Api, json};

#[tokio::test]
async fn a_new_profile_has_defaults_and_can_be_read() {
    let api = Api::start().await;
    let response = api.post("/profiles", &json!({ "first_name": " Ada " })).await;
    let profile = response.expect(201);
    let id = profile["id"].as_str().expect("an id");
    assert_eq!(response.header("location"), format!("/profiles/{id}"));
    assert_eq!(response.header("content-type"), "application/json");
    assert_eq!(uuid::Uuid::parse_str(id).expect("a UUID").get_version_num(), 7);
    let created_at = profile["created_at"].as_str().expect("a time");
    assert!(created_at.len() == 24 && created_at.ends_with('Z'), "{created_at}");
    let expected = json!({
        "id": id, "first_name": "Ada", "last_name": "", "full_name": "Ada", "job_title": "",
        "points": 0, "is_admin": false, "version": 1, "created_at": created_at,
    });
    assert_eq!(profile, expected);
    assert_eq!(api.get(&format!("/profiles/{id}")).await.expect(200), expected);
}

#[tokio::test]
async fn all_invalid_fields_of_a_profile_are_reported_together() {
    let api = Api::start().await;
    let body = json!({
        "first_name": " ", "last_name": 5, "job_title": "x".repeat(101),
        "points": 7, "colour": "red",
    });
    let fields = api.post("/profiles", &body).await.invalid_fields();
    assert_eq!(fields, ["colour", "first_name", "job_title", "last_name", "points"]);
    assert_eq!(api.post("/profiles", &json!({})).await.invalid_fields(), ["first_name"]);
    for body in [json!([]), json!("Ada"), json!(null), json!(1)] {
        assert_eq!(api.post("/profiles", &body).await.invalid_fields(), ["body"]);
    }
}

#[tokio::test]
async fn names_are_limited_in_characters_and_have_no_control_characters() {
    let api = Api::start().await;
    let longest = "é".repeat(100);
    let body = json!({ "first_name": longest, "last_name": longest, "job_title": "a\tb\nc" });
    let profile = api.post("/profiles", &body).await.expect(201);
    assert_eq!(profile["full_name"], format!("{longest} {longest}"));
    for name in ["", "\u{0}", "a\u{7f}", "\u{85}x", &format!("{longest}é")] {
        let response = api.post("/profiles", &json!({ "first_name": name })).await;
        assert_eq!(response.invalid_fields(), ["first_name"], "{name:?}");
    }
}

#[tokio::test]
async fn a_first_name_has_a_visible_character() {
    let api = Api::start().await;
    for name in ["\u{200b}", "\n", " \u{feff}\u{ad} ", "\u{3164}", "\u{2800}", "\u{fe0f}"] {
        let response = api.post("/profiles", &json!({ "first_name": name })).await;
        assert_eq!(response.invalid_fields(), ["first_name"], "{name:?}");
    }
    // A zero-width joiner is part of this emoji.
    api.profile("👩\u{200d}💻").await;
}

#[tokio::test]
async fn names_have_no_bidi_overrides() {
    let api = Api::start().await;
    let path = format!("/profiles/{}", api.profile("Ada").await);
    for character in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}') {
        let name = format!("a{character}b");
        let body = json!({ "first_name": name, "last_name": name, "job_title": name });
        let fields = api.post("/profiles", &body).await.invalid_fields();
        assert_eq!(fields, ["first_name", "job_title", "last_name"], "{name:?}");
        assert_eq!(api.patch(&path, &body).await.invalid_fields(), fields, "{name:?}");
    }
    api.profile("\u{627}\u{62f}\u{627}").await;
}

#[tokio::test]
async fn a_merge_patch_changes_the_named_fields_and_null_resets_a_field() {
    let api = Api::start().await;
    let body = json!({ "first_name": "Ada", "last_name": "Byron", "job_title": "Countess" });
    let profile = api.post("/profiles", &body).await.expect(201);
    let path = format!("/profiles/{}", profile["id"].as_str().expect("an id"));

    let patched = api.patch(&path, &json!({ "last_name": "Lovelace" })).await.expect(200);
    assert_eq!(patched["full_name"], "Ada Lovelace");
    assert_eq!(patched["job_title"], "Countess");
    let reset = json!({ "job_title": null, "last_name": null });
    let reset = api.patch(&path, &reset).await.expect(200);
    assert_eq!((&reset["job_title"], &reset["full_name"]), (&json!(""), &json!("Ada")));
    assert_eq!(api.patch(&path, &json!({})).await.expect(200), reset);
    let headers = [("content-type", "application/json")];
    let plain = api.send("PATCH", &path, &headers, r#"{"first_name":"A"}"#).await;
    assert_eq!(plain.expect(200)["first_name"], "A");

    let invalid = json!({
        "first_name": null, "points": 3, "is_admin": true, "id": "x", "full_name": "x",
    });
    let fields = api.patch(&path, &invalid).await.invalid_fields();
    assert_eq!(fields, ["first_name", "full_name", "id", "is_admin", "points"]);
    assert_eq!(api.patch(&path, &json!([])).await.invalid_fields(), ["body"]);
    assert_eq!(api.get(&path).await.expect(200)["points"], 0);
}

#[tokio::test]
async fn a_deleted_profile_is_not_found() {
    let api = Api::start().await;
    let path = format!("/profiles/{}", api.profile("Ada").await);
    let deleted = api.delete(&path).await;
    assert_eq!(deleted.expect(204), json!(null));
    assert_eq!(deleted.header("content-type"), "");
    api.get(&path).await.problem(404);
    api.patch(&path, &json!({ "first_name": "A" })).await.problem(404);
    api.patch(&path, &json!({})).await.problem(404);
    api.delete(&path).await.problem(404);
}
