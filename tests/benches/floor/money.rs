//! Cost: the units of each operation, as the engine reports them, in small and large tables.

use std::future::Future;
use std::pin::Pin;

use shared::table::Usage;
use shared::{Caller, Error, IdempotencyKey, Limit, MessagePatch, PageStart, Seq, Table};
use uuid::Uuid;

use crate::chat::{Chat, message, new_conversation, new_profile};
use crate::report::{Report, number, table};

/// On demand, us-east-1, in dollars for a million.
const READ_UNIT: f64 = 0.125;
const WRITE_UNIT: f64 = 0.625;

/// The post that earns the tenth point.
const CONGRATULATED: &str = "post that earns a congratulation";

/// An operation on a handle to the table.
type Operation<'c> =
    Box<dyn Fn(Table) -> Pin<Box<dyn Future<Output = Result<(), Error>> + 'c>> + 'c>;

/// A measurement: its name, the expected read and write units, and the operation.
fn operations(chat: &Chat) -> Vec<(&'static str, f64, f64, Operation<'_>)> {
    macro_rules! operation {
        ($name:expr, $read:expr, $write:expr, |$table:ident| $done:expr) => {{
            let operation: Operation<'_> =
                Box::new(move |$table: Table| Box::pin(async move { $done.await.map(drop) }));
            ($name, $read, $write, operation)
        }};
    }
    let (anyone, author, conversation) = (&Caller::Anyone, &chat.author, &chat.conversation);
    let fifty = Limit::default();
    let post = move |table: Table, key: Option<Uuid>| async move {
        let key: Option<IdempotencyKey> = key.map(|key| key.to_string().parse().expect("a key"));
        table.create_message(anyone, conversation.id, message(author), key.as_ref()).await
    };
    // A page of fifty messages, the conversation, and the author.
    let page = |bytes: f64| (bytes / 4096.0).ceil() + 2.0;
    vec![
        operation!("post a message", 2.0, 5.0, |table| post(table, None)),
        operation!("post with an idempotency key", 3.0, 7.0, |table| post(
            table,
            Some(Uuid::new_v4())
        )),
        operation!(CONGRATULATED, 2.0, 7.0, |table| post(table, None)),
        operation!("get a message", 3.0, 0.0, |table| table.get_message(
            anyone,
            conversation.id,
            Seq::FIRST
        )),
        operation!("newest 50 messages", page(chat.bytes_of_a_page(50)), 0.0, |table| {
            table.list_messages(anyone, conversation.id, PageStart::Newest, fifty)
        }),
        operation!("50 messages after a place", page(chat.bytes_of_a_page(50)), 0.0, |table| {
            table.list_messages(anyone, conversation.id, PageStart::After(Seq::new(0)), fifty)
        }),
        operation!("poll, nothing new", 2.0, 0.0, |table| {
            table.list_messages(
                anyone,
                conversation.id,
                PageStart::After(Seq::new(Seq::MAX - 1)),
                fifty,
            )
        }),
        operation!("edit a message", 4.0, 6.0, |table| {
            let text = String::from("Good evening").try_into().map_err(Error::internal)?;
            table.update_message(
                anyone,
                conversation.id,
                Seq::FIRST,
                MessagePatch { text: Some(text), metadata: None },
                &shared::IfMatch::Any,
            )
        }),
        operation!("get a profile", 1.0, 0.0, |table| table.get_profile(anyone, author.id)),
        operation!("newest 50 profiles", 51.0, 0.0, |table| table
            .list_profiles(anyone, fifty, None)),
        operation!("newest 50 conversations", 52.0, 0.0, |table| table
            .list_conversations(anyone, fifty, None)),
        // Two units for each item, in a transaction: the profile and the entry of its owner's list, or
        // the conversation, its first member and the access of that. One unit for each in the index.
        operation!("create a profile", 0.0, 5.0, |table| table.create_profile(
            anyone,
            new_profile(),
            None
        )),
        operation!("open a conversation", 1.0, 8.0, |table| {
            table.create_conversation(anyone, new_conversation(author), None)
        }),
    ]
}

impl Chat {
    /// Returns the size of this number of messages, as DynamoDB counts it.
    fn bytes_of_a_page(&self, messages: usize) -> f64 {
        let newest = self.newest(messages);
        newest.iter().map(|item| dynoxide::types::item_size(item) as f64).sum()
    }
}

/// Measures at each of these numbers of messages and profiles. Returns the filled table.
pub(crate) async fn run(sizes: &[usize], conversations: usize, report: &mut Report) -> Chat {
    let mut chat = Chat::new().await;
    let mut seen: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut as_designed = true;
    for &size in sizes {
        chat.fill(size, conversations.min(size), size).await;
        let mut column = Vec::new();
        for (name, read, write, operation) in operations(&chat) {
            // The next post earns a congratulation only if that is measured.
            while (chat.post().await.points % 10 == 9) != (name == CONGRATULATED) {}
            let request = chat.request();
            operation(request.clone())
                .await
                .unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
            let Usage { read_units, write_units, .. } = request.usage();
            if size >= 100 && (read_units, write_units) != (read, write) {
                as_designed = false;
                println!(
                    "{name} at {size}: {read_units} and {write_units} units, expected {read} and {write}"
                );
            }
            column.push((read_units, write_units));
        }
        seen.push(column);
    }
    let names: Vec<&str> = operations(&chat).into_iter().map(|(name, ..)| name).collect();
    let mut rows = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut row = vec![(*name).to_owned()];
        row.extend(
            seen.iter()
                .map(|column| format!("{} / {}", number(column[index].0), number(column[index].1))),
        );
        let (read, write) = seen.last().map_or((f64::NAN, f64::NAN), |column| column[index]);
        row.push(format!("{:.2} $", read * READ_UNIT + write * WRITE_UNIT));
        rows.push(row);
    }
    let sizes: Vec<String> = sizes.iter().map(|&size| number(size as f64)).collect();
    let mut head = vec!["messages and profiles"];
    head.extend(sizes.iter().map(String::as_str));
    head.push("a million calls");
    table("Money: read / write units", &head, &rows);
    let verdict = if as_designed { "all" } else { "not all" };
    report.must(
        "units at the design's figures, pages by their bytes rounded up once",
        verdict,
        "all",
        as_designed,
    );
    chat
}
