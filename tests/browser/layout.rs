//! Long names and words on every width, and touch screens.

use fantoccini::key::Key;
use tests::service::{Api, json};

use crate::driver::{Browser, DESKTOP, PHONE, Screen, click_tool};

const SCREENS: [Screen; 4] = [
    Screen { width: 320, height: 640, touch: true },
    PHONE,
    Screen { width: 768, height: 1024, touch: true },
    DESKTOP,
];

/// Lists elements that can be scrolled sideways, and controls outside the window.
const OVERFLOWS: &str = "
    [...document.querySelectorAll('html, body, .top, .panel, .scroll, dialog[open], form')]
        .filter((element) => element.scrollWidth > element.clientWidth + 1)
        .concat([...document.querySelectorAll('button, input, select, textarea, article')]
            .filter((element) => element.checkVisibility())
            .filter((element) => element.getBoundingClientRect().right > innerWidth))
        .map((element) => element.id || element.className || element.tagName)";

/// Returns a URL of 300 characters.
fn long_url() -> String {
    format!("https://example.com/{}", "long-path/".repeat(28))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_names_words_and_urls_fit_on_every_screen() {
    let api = Api::start_live().await;
    let name = "W".repeat(100);
    let profile = json!({ "first_name": name, "last_name": name, "job_title": "J".repeat(100) });
    let profile = api.post("/profiles", &profile).await.expect(201);
    let author_id = profile["id"].as_str().expect("an id");
    let conversation = json!({ "subject": "S".repeat(200), "author_id": author_id });
    let conversation = api.post("/conversations", &conversation).await.expect(201);
    let id = conversation["id"].as_str().expect("an id");
    for number in 0..10 {
        let text = if number % 2 == 0 { long_url() } else { "x".repeat(200) };
        api.say(id, author_id, &text).await;
    }
    for screen in SCREENS {
        let browser = Browser::open(api.url(), screen).await;
        // Act as the profile with the long name.
        let acting = json!(profile.to_string());
        browser.eval(&format!("localStorage.setItem('acting-as', {acting})")).await;
        for (path, element) in [
            ("/#/conversations".to_owned(), "#conversations li"),
            ("/#/profiles".to_owned(), "#profiles li"),
            (format!("/#/profiles/{author_id}"), "#profile-card:not([hidden])"),
            (format!("/#/conversations/{id}"), "#messages .congratulation"),
        ] {
            browser.go_to(&path).await;
            browser.find(element).await;
            assert_fits(&browser, screen, &path).await;
        }
        let draft = format!("{} {}", long_url(), "y".repeat(200));
        browser.fill("#composer-text", &draft).await;
        assert_fits(&browser, screen, "a long draft").await;
        let right = "document.querySelector('#composer button').getBoundingClientRect().right";
        let right = browser.eval(right).await.as_f64().expect("a number");
        assert!(right > 0.0 && right <= f64::from(screen.width), "Post ends at {right}");
        click_tool(&browser, 10, "edit").await;
        assert_fits(&browser, screen, "the dialog").await;
        browser.click("#edit-message [data-action=close]").await;
        browser.click("#conversation-members").await;
        browser.find("#members-view li").await;
        assert_fits(&browser, screen, "the members").await;
        browser.close("").await;
    }
}

async fn assert_fits(browser: &Browser, screen: Screen, place: &str) {
    browser.wait_for(&format!("innerWidth === {}", screen.width)).await;
    assert_eq!(browser.eval(OVERFLOWS).await, json!([]), "{screen:?}, {place}");
    let width = "document.querySelector('#acting-as').getBoundingClientRect().width";
    let width = browser.eval(width).await.as_f64().expect("a number");
    assert!(width >= 120.0, "{screen:?}, {place}: the acting profile has {width} px");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_touch_screen_enter_breaks_the_line_and_the_button_posts() {
    let api = Api::start_live().await;
    let (_, id) = api.profile_and_conversation().await;
    let browser = Browser::open(api.url(), PHONE).await;
    browser.go_to("/#/profiles").await;
    browser.click("#profiles a").await;
    browser.click("#profile-act").await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    let text = format!("First line{}second line", char::from(Key::Enter));
    browser.fill("#composer-text", &text).await;
    let draft = browser.eval("document.querySelector('#composer-text').value").await;
    assert_eq!(draft, json!("First line\nsecond line"));
    assert_eq!(api.messages(&id).await, [json!(null); 0], "Enter posts nothing");
    browser.click("#composer button.primary").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "First line\nsecond line").await;
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_keyboard_shift_enter_breaks_the_line_and_enter_posts() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    browser.go_to(&format!("/#/profiles/{author_id}")).await;
    browser.click("#profile-act").await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    let (shift, enter, release) =
        (char::from(Key::Shift), char::from(Key::Enter), char::from(Key::Null));
    browser.fill("#composer-text", &format!("One{shift}{enter}{release}two{enter}")).await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "One\ntwo").await;
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_is_readable_on_a_phone() {
    let api = Api::start_live().await;
    let profiles = [("Ada", "Lovelace"), ("Charles", "Babbage")];
    let mut ids = Vec::new();
    for (first_name, last_name) in profiles {
        let body = json!({ "first_name": first_name, "last_name": last_name });
        let profile = api.post("/profiles", &body).await.expect(201);
        ids.push(profile["id"].as_str().expect("an id").to_owned());
    }
    let conversation = json!({ "subject": "Analytical engines", "author_id": ids[0] });
    let conversation = api.post("/conversations", &conversation).await.expect(201);
    let id = conversation["id"].as_str().expect("an id");
    for number in 0..10 {
        api.say(id, &ids[0], &format!("Note {}", number + 1)).await;
    }
    api.say(id, &ids[1], "The drawings are at https://example.com/drawings/difference-engine")
        .await;
    let browser = Browser::open(api.url(), PHONE).await;
    browser.go_to(&format!("/#/profiles/{}", ids[0])).await;
    browser.click("#profile-act").await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    browser.find("[data-seq=\"12\"]").await;
    assert_fits(&browser, PHONE, "a conversation").await;
    // The newest message and the composer are in the window, without scrolling.
    let bottom = "document.querySelector('[data-seq=\"12\"]').getBoundingClientRect().bottom";
    let top = "document.querySelector('#composer').getBoundingClientRect().top";
    browser.wait_for(&format!("{bottom} <= {top} && {top} < innerHeight")).await;
    browser.picture("phone").await;
    browser.close("").await;
}
