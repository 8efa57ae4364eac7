//! Live delivery: news arrives through a connection. Without one, the page polls.

use tests::service::{Api, Value, json};

use crate::driver::{Browser, DESKTOP, click_tool, element_text};

/// Records the requests of the page in `window.requests`. Shortens its timers to 50 ms while
/// `window.hurries` is set, except those of timeouts and of the renewal of the connection. Shows
/// the page a time that is `window.passed` milliseconds later. Through a `LossySocket`, frames are
/// lost while `window.loses` is set, and counted in `window.lost`.
const OBSERVE: &str = "(() => {
    const { fetch, setTimeout, WebSocket } = window;
    const { now } = Date;
    Object.assign(window, {
        requests: [], hurries: false, passed: 0, loses: false, lost: 0, loaded: true, WebSocket,
    });
    window.fetch = (path, options) => {
        window.requests.push(`${options.method} ${path}`);
        return fetch(path, options);
    };
    window.setTimeout = (action, delay) => {
        const keeps = !window.hurries || delay === 10_000 || delay > 3_600_000;
        return setTimeout(action, keeps ? delay : Math.min(delay, 50));
    };
    Date.now = () => now() + window.passed;
    window.LossySocket = class extends WebSocket {
        set onmessage(action) {
            super.onmessage = action && ((event) => {
                if (!window.loses) return action(event);
                window.lost += 1;
            });
        }
    };
    window.BrokenSocket = class { constructor() { throw new Error('broken'); } };
    window.IntactSocket = WebSocket;
})()";

/// Drops the connection, and opens the next ones as another class.
fn reconnect_as(socket: &str) -> String {
    format!(
        "(window.WebSocket = window.{socket}, window.WebSocket.OPEN ??= 1, window.hurries = true,
          window.dispatchEvent(new Event('offline')))"
    )
}

/// Opens a conversation, acting as its author, and waits for live delivery.
pub(crate) async fn open(api: &Api, id: &str, author_id: &str) -> Browser {
    let browser = Browser::open(api.url(), DESKTOP).await;
    let profile = api.get(&format!("/profiles/{author_id}")).await.expect(200);
    let acting = json!(profile.to_string());
    browser.eval(&format!("localStorage.setItem('acting-as', {acting})")).await;
    browser.go_to(&format!("/#/conversations/{id}")).await;
    wait_until_live(&browser).await;
    browser.eval(OBSERVE).await;
    browser
}

pub(crate) async fn wait_until_live(browser: &Browser) {
    for place in ["#connection", "#inbox-connection"] {
        browser.wait_for(&format!("{} === 'Live'", element_text(place))).await;
    }
}

/// The requests of polls and of the inbox.
const POLLS: &str = "window.requests.filter((line) => /changes\\?|conversations$/.test(line))";

/// What the log shows of each message.
const LOG: &str = "[...document.querySelectorAll('#messages [data-seq]')].map((message) => [
    +message.dataset.seq,
    message.querySelector('.text')?.textContent ?? null,
    /Edited|deleted/.exec(message.querySelector('.change')?.textContent ?? '')?.[0] ?? null,
])";

async fn wait_for_log(browser: &Browser, expected: &Value) {
    browser.wait_for(&format!("JSON.stringify({LOG}) === {}", json!(expected.to_string()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_arrives_without_polls() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let other = api.conversation(&author_id).await;
    for text in ["One", "Two"] {
        api.say(&id, &author_id, text).await;
    }
    let browser = open(&api, &id, &author_id).await;
    let title = browser.eval("document.querySelector('#connection').title").await;
    assert_eq!(title, json!("News arrives as it happens."));
    // Input after almost a minute: a page that polls would poll now.
    browser.eval("(passed = 55_000, window.dispatchEvent(new Event('keydown')))").await;

    api.patch(&format!("/conversations/{id}/messages/1"), &json!({ "text": "1" }))
        .await
        .expect(200);
    api.delete(&format!("/conversations/{id}/messages/2")).await.expect_status(204);
    api.say(&id, &author_id, "Three").await;
    let log = json!([[1, "1", "Edited"], [2, null, "deleted"], [3, "Three", null]]);
    wait_for_log(&browser, &log).await;
    let renamed = json!({ "subject": "Difference engines" });
    api.patch(&format!("/conversations/{id}"), &renamed).await.expect(200);
    browser.wait_for_text("#conversation-title", "Difference engines").await;
    let row = format!("#inbox [data-key=\"{id}\"] .name");
    browser.wait_for_text(&row, "Difference engines").await;
    api.say(&other, &author_id, "Elsewhere").await;
    let unread = format!("#inbox [data-key=\"{other}\"] .unread:not([hidden]) > :first-child");
    browser.wait_for(&format!("{} === '1'", element_text(&unread))).await;
    browser
        .wait_for(&format!("document.querySelector('#inbox li').dataset.key === '{other}'"))
        .await;
    assert_eq!(browser.eval(POLLS).await, json!([]));

    let added = api.conversation(&author_id).await;
    browser.find(&format!("#inbox [data-key=\"{added}\"]")).await;
    // The new conversation is watched, too.
    api.say(&added, &author_id, "Elsewhere").await;
    let unread = format!("#inbox [data-key=\"{added}\"] .unread:not([hidden]) > :first-child");
    browser.wait_for(&format!("{} === '1'", element_text(&unread))).await;
    api.delete(&format!("/conversations/{added}")).await.expect_status(204);
    browser.wait_for(&format!("document.querySelector('[data-key=\"{added}\"]') === null")).await;
    api.delete(&format!("/conversations/{id}")).await.expect_status(204);
    browser.wait_for_text("#connection", "Deleted").await;
    browser.close("404").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_browsers_end_equal_after_one_was_offline() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    for text in ["One", "Two", "Three"] {
        api.say(&id, &author_id, text).await;
    }
    let (ada, charles) = (open(&api, &id, &author_id).await, open(&api, &id, &author_id).await);
    charles.set_offline(true).await;
    charles.wait_for(&format!("{} !== 'Live'", element_text("#connection"))).await;
    click_tool(&ada, 1, "edit").await;
    ada.fill("#edit-text", "1").await;
    ada.click("#edit-message button.primary").await;
    ada.wait_for_text("[data-seq=\"1\"] .change", "Edited").await;
    click_tool(&ada, 2, "delete").await;
    ada.click("#confirm button.danger").await;
    ada.wait_for_text("[data-seq=\"2\"] .change", "deleted").await;
    ada.fill("#composer-text", "Four").await;
    ada.click("#composer button.primary").await;
    ada.find("[data-seq=\"4\"]").await;
    let renamed = json!({ "subject": "Difference engines" });
    api.patch(&format!("/conversations/{id}"), &renamed).await.expect(200);
    let before = charles.eval(LOG).await;
    assert_eq!(before, json!([[1, "One", null], [2, "Two", null], [3, "Three", null]]), "offline");

    charles.eval("window.hurries = true").await;
    charles.set_offline(false).await;
    let log =
        json!([[1, "1", "Edited"], [2, null, "deleted"], [3, "Three", null], [4, "Four", null]]);
    for browser in [&ada, &charles] {
        wait_for_log(browser, &log).await;
        browser.wait_for_text("#conversation-title", "Difference engines").await;
        wait_until_live(browser).await;
    }
    api.say(&id, &author_id, "Five").await;
    for browser in [ada, charles] {
        browser.find("[data-seq=\"5\"]").await;
        browser.close("ERR_INTERNET_DISCONNECTED").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_the_page_polls_and_says_so_until_there_is_one() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let browser = open(&api, &id, &author_id).await;
    browser.eval(&reconnect_as("BrokenSocket")).await;
    for place in ["#connection", "#inbox-connection"] {
        browser.wait_for_text(place, "Polling").await;
    }
    api.say(&id, &author_id, "One").await;
    browser.wait_for_text("[data-seq=\"1\"] .text", "One").await;
    let polls = browser.eval(&format!("{POLLS}.length")).await;
    assert!(polls.as_u64() > Some(0), "{polls}");
    let role = browser.eval("document.querySelector('#connection').role").await;
    assert_eq!(role, json!("status"), "a screen reader announces it");

    browser.eval("window.WebSocket = window.IntactSocket").await;
    wait_until_live(&browser).await;
    browser.eval("(window.hurries = false, window.requests = [])").await;
    api.say(&id, &author_id, "Two").await;
    browser.wait_for_text("[data-seq=\"2\"] .text", "Two").await;
    browser.eval("(passed = 55_000, window.dispatchEvent(new Event('keydown')))").await;
    api.say(&id, &author_id, "Three").await;
    browser.wait_for_text("[data-seq=\"3\"] .text", "Three").await;
    assert_eq!(browser.eval(POLLS).await, json!([]));
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_frames_are_repaired_by_the_next_frame_or_heartbeat() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let browser = open(&api, &id, &author_id).await;
    browser.eval(&reconnect_as("LossySocket")).await;
    wait_until_live(&browser).await;
    browser.eval("(window.hurries = false, window.requests = [])").await;
    for (lost, repair) in [("One", "next frame"), ("Three", "heartbeat")] {
        browser.eval("(window.lost = 0, window.loses = true)").await;
        api.say(&id, &author_id, lost).await;
        // The frames of the conversation and of the inbox.
        browser.wait_for("window.lost >= 2").await;
        let shown = browser.eval("document.querySelector('#messages').textContent").await;
        assert!(!shown.to_string().contains(lost), "{lost} is lost");
        browser.eval("window.loses = false").await;
        match repair {
            "heartbeat" => drop(browser.eval("window.passed += 61_000").await),
            _ => drop(api.say(&id, &author_id, "Two").await),
        }
        browser.wait_for_text("#messages", lost).await;
    }
    let log = json!([[1, "One", null], [2, "Two", null], [3, "Three", null]]);
    wait_for_log(&browser, &log).await;
    let asked = browser.eval("window.requests.filter((line) => line.includes('changes?'))").await;
    assert_eq!(asked.as_array().map(Vec::len), Some(1), "the gap: {asked}");
    browser.close("").await;
}

/// Lets each connection end two hours after the one before. Records the connections in
/// `window.sockets`. Lets `window.renew` do what the page does shortly before the end.
const RENEW: &str = "(() => {
    const { fetch, setTimeout } = window;
    Object.assign(window, { sockets: [] });
    window.fetch = async (path, options) => {
        const response = await fetch(path, options);
        if (path !== '/tickets') return response;
        const ticket = await response.json();
        for (const name of ['expires_at', 'connection_expires_at']) {
            const time = Date.parse(ticket[name]) + 7_200_000 * window.sockets.length;
            ticket[name] = new Date(time).toISOString();
        }
        return new Response(JSON.stringify(ticket), { status: 201 });
    };
    window.setTimeout = (action, delay) => {
        if (delay < 3_600_000) return setTimeout(action, delay);
        window.renew = action;
        return 0;
    };
    window.WebSocket = class extends window.IntactSocket {
        constructor(url) {
            super(url);
            window.sockets.push(this);
        }
    };
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_replaced_before_it_ends() {
    let api = Api::start_live().await;
    let (author_id, id) = api.profile_and_conversation().await;
    let browser = open(&api, &id, &author_id).await;
    browser.eval(RENEW).await;
    browser.eval(&reconnect_as("WebSocket")).await;
    wait_until_live(&browser).await;
    let observe = "(window.states = [], new MutationObserver(() => {
        window.states.push(document.querySelector('#connection').textContent);
    }).observe(document.querySelector('#connection'), { childList: true }))";
    browser.eval(observe).await;
    for number in 2..=3 {
        browser.eval("window.renew()").await;
        let replaced = format!(
            "window.sockets.map(({{ readyState }}) => readyState > 1).join() === '{}false'",
            "true,".repeat(number - 1)
        );
        browser.wait_for(&replaced).await;
        api.say(&id, &author_id, &format!("After {number}")).await;
        browser.wait_for_text("#messages", &format!("After {number}")).await;
    }
    assert_eq!(browser.eval("window.states").await, json!([]), "it stays live");
    browser.close("").await;
}

/// Returns the most tickets that 1,000 clients ask for in any second, for a number of failures that
/// follow each other, with a fixed seed; and how frames fit to cursors.
const CALCULATE: &str = "
    const [, done] = arguments;
    import('/assets/live.js').then(({ reconnectDelay, fitOf }) => {
        let state = 4711;
        const random = () => {
            state = (state * 1664525 + 1013904223) % 2 ** 32;
            return state / 2 ** 32;
        };
        const busiest = (rounds) => {
            const times = [];
            for (let client = 0; client < 1000; client += 1) {
                let time = 0;
                for (let failures = 1; failures <= rounds; failures += 1) {
                    time += reconnectDelay(failures, random);
                    times.push(time);
                }
            }
            times.sort((one, other) => one - other);
            const until = (start) => times.filter((time) => time >= start && time < start + 1000);
            return Math.max(...times.map((start) => until(start).length));
        };
        const fits = [['3.2', '3.2'], ['2.1', '3.2'], ['2.1', '2.0'], ['4.2', '5.2'],
            ['3.2', '4.1'], ['3.2', '4.2'], ['2.0', '4.3']];
        done({
            tickets: [1, 4].map(busiest),
            fits: fits.map(([after, cursor]) => fitOf({ after, cursor, results: [] }, '3.2')),
            tooLarge: fitOf({ after: '3.2', cursor: '4.2', results: null }, '3.2'),
        });
    });
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_dropped_together_come_back_one_by_one() {
    let api = Api::start_live().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    let calculated = browser.run(CALCULATE, json!(null)).await;
    for tickets in calculated["tickets"].as_array().expect("counts") {
        assert!((1..=100).contains(&tickets.as_u64().expect("a count")), "{tickets} in a second");
    }
    assert_eq!(calculated["fits"], json!(["old", "old", "old", "gap", "gap", "next", "next"]));
    assert_eq!(calculated["tooLarge"], "gap");
    browser.close("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_can_connect_to_no_other_host() {
    let api = Api::start_live().await;
    let browser = Browser::open(api.url(), DESKTOP).await;
    let connect = "
        const [url, done] = arguments;
        addEventListener('securitypolicyviolation', (event) => done(event.blockedURI));
        new WebSocket(url);
    ";
    let url = "ws://127.0.0.1:9/live";
    assert_eq!(browser.run(connect, json!(url)).await, json!(url));
}
