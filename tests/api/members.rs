//! Members of conversations, and inboxes.

use crate::access::callers::{READ_WRITE, authorizer, token};
use crate::stage::{Stage, each};
use tests::service::{Api, Response, Value, json};

/// A caller with a token.
struct Person {
    api: Api,
    token: String,
    profile: String,
}

impl Person {
    async fn new(stage: &Stage, subject: &str) -> Self {
        Self::with_scope(stage, subject, READ_WRITE).await
    }

    async fn with_scope(stage: &Stage, subject: &str, scope: &str) -> Self {
        let token = token(&json!({ "sub": subject, "scope": scope }));
        let mut person = Self { api: stage.api().clone(), token, profile: String::new() };
        person.profile = person.another_profile().await;
        person
    }

    async fn another_profile(&self) -> String {
        let profile = self.send("POST", "/profiles", &json!({ "first_name": "P" })).await;
        profile.expect(201)["id"].as_str().expect("an id").to_owned()
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        let headers = [("authorization", &*self.token), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.api.send(method, path, &headers, body).await
    }

    async fn get(&self, path: &str) -> Response {
        self.send("GET", path, &Value::Null).await
    }

    /// Creates a conversation. Returns its path.
    async fn create(&self, visibility: &str) -> String {
        let body = json!({ "subject": "s", "author_id": self.profile, "visibility": visibility });
        let created = self.send("POST", "/conversations", &body).await;
        assert_eq!(created.expect(201)["visibility"], visibility);
        created.header("location").to_owned()
    }

    async fn put(&self, conversation: &str, profile: &str, body: &Value) -> Response {
        self.send("PUT", &format!("{conversation}/members/{profile}"), body).await
    }

    async fn say(&self, conversation: &str) -> Response {
        let body = json!({ "author_id": self.profile, "text": "x" });
        self.send("POST", &format!("{conversation}/messages"), &body).await
    }

    async fn mark(&self, conversation: &str, seq: u64) -> Response {
        let path = format!("{conversation}/members/{}/read", self.profile);
        self.send("PUT", &path, &json!({ "seq": seq })).await
    }

    /// Returns the path of the inbox.
    fn inbox(&self) -> String {
        format!("/profiles/{}/conversations", self.profile)
    }
}

async fn people() -> (Stage, Person, Person) {
    let stage = Stage::start_closed(authorizer()).await;
    let (ada, bob) = (Person::new(&stage, "ada").await, Person::new(&stage, "bob").await);
    (stage, ada, bob)
}

fn id(conversation: &str) -> &str {
    conversation.rsplit('/').next().expect("an id")
}

#[tokio::test]
async fn the_author_of_a_conversation_is_its_first_member_and_a_moderator() {
    let (_stage, ada, _) = people().await;
    for visibility in ["public", "private"] {
        let conversation = ada.create(visibility).await;
        let profile = ada.get(&format!("/profiles/{}", ada.profile)).await.expect(200);
        let members = ada.get(&format!("{conversation}/members")).await.expect(200);
        let member = json!({
            "conversation_id": id(&conversation), "profile_id": ada.profile, "profile": profile,
            "role": "moderator", "read_seq": 0, "unread": 0,
            "joined_at": members["results"][0]["joined_at"],
        });
        assert_eq!(members, json!({ "results": [member], "next": null }), "{visibility}");
    }
}

#[tokio::test]
async fn a_private_conversation_is_in_no_list_and_stays_private() {
    let (_stage, ada, _) = people().await;
    let (private, public) = (ada.create("private").await, ada.create("public").await);
    let listed = ada.get("/conversations").await.expect(200);
    assert_eq!(each(&listed, "id"), [id(&public)]);
    let opened = ada.send("PATCH", &private, &json!({ "visibility": "public" })).await;
    assert_eq!(opened.invalid_fields(), ["visibility"]);
    for visibility in [json!("secret"), json!({ "private": null }), Value::Null] {
        let body = json!({ "subject": "s", "author_id": ada.profile, "visibility": visibility });
        let created = ada.send("POST", "/conversations", &body).await;
        assert_eq!(created.invalid_fields(), ["visibility"]);
    }
}

#[tokio::test]
async fn an_invalid_role_or_position_is_explained_in_words_of_the_api() {
    let (_stage, ada, bob) = people().await;
    let conversation = ada.create("public").await;
    let path = format!("{conversation}/members/{}", bob.profile);
    for (role, reason) in [
        (json!("owner"), "must be moderator or member"),
        (json!(1), "must be a string"),
        (json!({ "moderator": null }), "must be a string"),
        (Value::Null, "must be a string"),
    ] {
        let put = ada.send("PUT", &path, &json!({ "role": role })).await;
        assert_eq!(put.problem(422)["errors"], json!({ "role": [reason] }));
    }
    let reason = "must be a whole number from 0 to 999999999999";
    let invalid = [json!(-1), json!(1.5), json!("1"), json!(1_000_000_000_000_u64), Value::Null];
    for seq in invalid.into_iter().chain([json!([1])]) {
        let put = bob.send("PUT", &format!("{path}/read"), &json!({ "seq": seq })).await;
        assert_eq!(put.problem(422)["errors"], json!({ "seq": [reason] }), "{seq}");
    }
}

#[tokio::test]
async fn adding_a_member_again_changes_nothing_unless_it_names_another_role() {
    let (_stage, ada, bob) = people().await;
    let conversation = ada.create("private").await;
    ada.say(&conversation).await.expect(201);
    let added = ada.put(&conversation, &bob.profile, &Value::Null).await;
    assert_eq!(added.expect(201)["role"], "member");
    assert_eq!((added.header("etag"), added.header("location")), ("", ""));
    for (body, role) in [
        (json!({}), "member"),
        (json!({ "role": "moderator" }), "moderator"),
        (json!({}), "moderator"),
        (json!({ "role": "member" }), "member"),
    ] {
        let put = ada.put(&conversation, &bob.profile, &body).await.expect(200);
        assert_eq!(put["role"], role);
        assert_eq!(put["joined_at"], added.json()["joined_at"]);
    }
    let absent = uuid::Uuid::now_v7().to_string();
    let put = ada.put(&conversation, &absent, &json!({})).await;
    assert_eq!(put.invalid_fields(), ["profile_id"]);
}

#[tokio::test]
async fn everyone_may_join_a_public_conversation_and_leave_it() {
    let (_stage, ada, bob) = people().await;
    let conversation = ada.create("public").await;
    let role = json!({ "role": "member" });
    bob.put(&conversation, &bob.profile, &role).await.expect_code(403, "not_moderator");
    bob.put(&conversation, &ada.profile, &json!({})).await.expect_code(403, "not_moderator");
    bob.put(&conversation, &bob.profile, &json!({})).await.expect(201);
    let member = format!("{conversation}/members/{}", bob.profile);
    for _ in 0..2 {
        bob.send("DELETE", &member, &Value::Null).await.expect(204);
    }
    let members = ada.get(&format!("{conversation}/members")).await.expect(200);
    assert_eq!(each(&members, "profile_id"), [&*ada.profile]);
    bob.mark(&conversation, 0).await.expect_code(404, "not_found");
    // A public conversation takes posts of everyone.
    bob.say(&conversation).await.expect(201);
}

#[tokio::test]
async fn only_members_post_in_a_private_conversation() {
    let (_stage, ada, bob) = people().await;
    let conversation = ada.create("private").await;
    bob.say(&conversation).await.expect_code(404, "not_found");
    ada.put(&conversation, &bob.profile, &json!({})).await.expect(201);
    bob.say(&conversation).await.expect(201);
    let spare = bob.another_profile().await;
    let body = json!({ "author_id": spare, "text": "x" });
    let posted = bob.send("POST", &format!("{conversation}/messages"), &body).await;
    posted.expect_code(403, "not_a_member");
}

#[tokio::test]
async fn a_read_position_moves_forward_only_and_counts_what_is_unread() {
    let (_stage, ada, bob) = people().await;
    let conversation = ada.create("private").await;
    for _ in 0..3 {
        ada.say(&conversation).await.expect(201);
    }
    let added = ada.put(&conversation, &bob.profile, &json!({})).await.expect(201);
    // Ada does not see what Bob has read.
    assert_eq!((&added["read_seq"], &added["unread"]), (&Value::Null, &Value::Null));
    ada.say(&conversation).await.expect(201);
    ada.say(&conversation).await.expect(201);
    for (seq, read, unread) in [(0, 3, 2), (4, 4, 1), (2, 4, 1), (5, 5, 0)] {
        let member = bob.mark(&conversation, seq).await.expect(200);
        assert_eq!((&member["read_seq"], &member["unread"]), (&json!(read), &json!(unread)));
    }
    assert_eq!(bob.mark(&conversation, 6).await.invalid_fields(), ["seq"]);
    let path = format!("{conversation}/members/{}/read", bob.profile);
    ada.send("PUT", &path, &json!({ "seq": 5 })).await.expect_code(403, "not_owner");
    let members = ada.get(&format!("{conversation}/members")).await.expect(200);
    for member in members["results"].as_array().expect("results") {
        let own = member["profile_id"] == *ada.profile;
        assert_eq!((member["read_seq"].is_null(), member["unread"].is_null()), (!own, !own));
    }
}

#[tokio::test]
async fn members_are_listed_by_profile_id_in_pages() {
    let (_stage, ada, bob) = people().await;
    let conversation = ada.create("private").await;
    let mut profiles = vec![ada.profile.clone()];
    for _ in 0..4 {
        profiles.push(bob.another_profile().await);
        ada.put(&conversation, &profiles[profiles.len() - 1], &json!({})).await.expect(201);
    }
    profiles.sort();
    let mut listed = Vec::new();
    let mut next = Some(format!("{conversation}/members?limit=2"));
    while let Some(path) = next {
        let page = ada.get(&path).await.expect(200);
        listed.extend(each(&page, "profile_id"));
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(listed, profiles);
}

#[tokio::test]
async fn an_inbox_is_ordered_by_activity_and_belongs_to_its_owner() {
    let (stage, ada, bob) = people().await;
    let mut conversations = Vec::new();
    for visibility in ["public", "private", "public", "private"] {
        stage.advance(1);
        let conversation = ada.create(visibility).await;
        ada.put(&conversation, &bob.profile, &json!({})).await.expect(201);
        conversations.push(conversation);
    }
    stage.advance(1);
    ada.say(&conversations[1]).await.expect(201);
    let expected = [1, 3, 2, 0].map(|index: usize| json!(id(&conversations[index])));
    let inbox = bob.get(&bob.inbox()).await.expect(200);
    assert_eq!(each(&inbox, "conversation_id"), expected);
    let first = &inbox["results"][0];
    assert_eq!((&first["read_seq"], &first["unread"]), (&json!(0), &json!(1)));
    let mut conversation = ada.get(&conversations[1]).await.expect(200);
    for member in ["author", "messages", "cursor"] {
        conversation.as_object_mut().expect("an object").remove(member);
    }
    assert_eq!(first["conversation"], conversation);

    let mut listed = Vec::new();
    let mut next = Some(format!("{}?limit=1", bob.inbox()));
    while let Some(path) = next {
        let page = bob.get(&path).await.expect(200);
        listed.extend(each(&page, "conversation_id"));
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(listed, expected);

    ada.get(&bob.inbox()).await.expect_code(403, "not_owner");
    let admin = Person::with_scope(&stage, "operator", "chat/admin").await;
    let seen = admin.get(&bob.inbox()).await.expect(200);
    assert_eq!(each(&seen, "conversation_id"), expected);
    assert_eq!(seen["results"][0]["read_seq"], Value::Null);
    ada.send("DELETE", &conversations[3], &Value::Null).await.expect(204);
    let inbox = bob.get(&bob.inbox()).await.expect(200);
    assert_eq!(each(&inbox, "conversation_id"), [1, 2, 0].map(|i: usize| id(&conversations[i])));
    bob.get(&format!("{}?after=x", bob.inbox())).await.expect_code(400, "malformed");
}

#[tokio::test]
async fn the_callers_own_profiles_are_listed_newest_first_in_pages() {
    let (_stage, ada, bob) = people().await;
    let mut own = vec![bob.profile.clone()];
    for _ in 0..4 {
        own.insert(0, bob.another_profile().await);
    }
    ada.another_profile().await;
    bob.send("DELETE", &format!("/profiles/{}", own.remove(1)), &Value::Null).await.expect(204);
    let mut listed = Vec::new();
    let mut next = Some("/profiles?limit=2&owner=me".to_owned());
    while let Some(path) = next {
        let page = bob.get(&path).await.expect(200);
        listed.extend(each(&page, "id"));
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(listed, own);
    bob.get("/profiles?owner=you").await.expect_code(400, "malformed");
}

/// No caller is ever taken for another, and no `sub` is part of a key.
#[tokio::test]
async fn similar_subjects_are_different_callers() {
    let stage = Stage::start_closed(authorizer()).await;
    let longest = "x".repeat(255);
    let mut owner = Person::new(&stage, "ada#MEMBER#%00").await;
    let conversation = owner.create("private").await;
    let subjects = [
        "ada",
        "ada#",
        "ada#MEMBER",
        "ada#MEMBER#",
        "ada#MEMBER#%",
        "ada#MEMBER#%00#",
        "ADA",
        "ada#member#%00",
        "ada%23MEMBER%23%2500",
        "a\u{0308}da",
        "äda",
        &longest[1..],
        &longest,
        "Ада#MEMBER#👩‍🚀",
    ];
    for subject in subjects {
        let person = Person::new(&stage, subject).await;
        person.get(&conversation).await.expect_code(404, "not_found");
        let own = person.get("/profiles?owner=me").await.expect(200);
        assert_eq!(each(&own, "id"), [&*person.profile], "{subject}");
        owner.put(&conversation, &person.profile, &json!({})).await.expect(201);
        person.get(&conversation).await.expect(200);
        let member = format!("{conversation}/members/{}", person.profile);
        person.send("DELETE", &member, &Value::Null).await.expect(204);
        person.get(&conversation).await.expect_code(404, "not_found");
        owner.put(&conversation, &person.profile, &json!({})).await.expect(201);
    }
    owner.token = token(&json!({ "sub": "ada#MEMBER#%00", "scope": "chat/read" }));
    owner.get(&conversation).await.expect(200);
    for item in stage.dump() {
        let item: Value = serde_json::from_str(&item).expect("JSON");
        for part in ["pk", "sk", "listing", "id"] {
            let key = item[part]["S"].as_str().unwrap_or_default();
            let plain = |c: char| c.is_ascii_alphanumeric() || "#-_".contains(c);
            assert!(key.chars().all(plain) && key.len() <= 120 && !key.contains("ada#"), "{key}");
        }
    }
}

#[tokio::test]
async fn without_authentication_everyone_reads_and_only_members_post_in_private() {
    let api = Api::start().await;
    let (ada, bob) = (api.profile("Ada").await, api.profile("Bob").await);
    let body = json!({ "subject": "s", "author_id": ada, "visibility": "private" });
    let created = api.post("/conversations", &body).await;
    created.expect(201);
    let conversation = created.header("location");
    api.get(conversation).await.expect(200);
    let body = json!({ "author_id": bob, "text": "x" });
    let messages = format!("{conversation}/messages");
    api.post(&messages, &body).await.expect_code(403, "not_a_member");
    api.put(&format!("{conversation}/members/{bob}"), &json!({})).await.expect(201);
    api.post(&messages, &body).await.expect(201);
}
