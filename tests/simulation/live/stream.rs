//! Delivers the records of the table's stream in batches to the function `deliver`: late, in order
//! only for each item, and perhaps more than once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use functions::live::{StreamEvent, deliver};
use serde_json::Value;
use tests::dynamodb::stream::Record;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use crate::world::World;

/// The most attempts at a batch: the first one and those that `template.yaml` allows.
const ATTEMPTS: usize = 3;

/// A record that becomes available at a time.
struct Waiting {
    record: Record,
    due: Instant,
    number: usize,
}

/// Delivers records until the run ends. Each shard delivers one batch after the other.
pub(crate) async fn deliver_all(
    world: Arc<World>,
    mut rng: Rng,
    mut records: UnboundedReceiver<Record>,
) {
    let mut shards: Vec<UnboundedSender<Record>> = Vec::new();
    for _ in 0..rng.usize(1..=2) {
        let (sender, receiver) = unbounded_channel();
        shards.push(sender);
        tokio::spawn(shard(world.clone(), rng.fork(), receiver));
    }
    // Ids differ from run to run, so the order of their first records decides.
    let mut known: HashMap<String, usize> = HashMap::new();
    while let Some(record) = records.recv().await {
        let next = known.len();
        let number = *known.entry(record.partition().to_owned()).or_insert(next);
        let _ = shards[number % shards.len()].send(record);
    }
}

/// Delivers the records of one shard.
async fn shard(world: Arc<World>, mut rng: Rng, mut records: UnboundedReceiver<Record>) {
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut count = 0;
    let window = *rng.choice(&[20, 100, 500]).expect("a time");
    loop {
        let next = waiting.iter().map(|waiting| waiting.due).min();
        let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        match timeout_at(next, records.recv()).await {
            Ok(None) => return,
            Ok(Some(record)) => {
                count += 1;
                let due = Instant::now() + delay(&world, &mut rng, &record);
                let earlier = waiting.iter().filter(|one| one.record.is_of_same_item(&record));
                let due = earlier.map(|one| one.due).fold(due, Instant::max);
                waiting.push(Waiting { record, due, number: count });
                continue;
            }
            Err(_) => {}
        }
        let most = rng.usize(1..=100);
        let now = Instant::now();
        let (mut due, mut rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|one| one.due <= now);
        // What belongs to one item stays in order, also beyond the batch.
        due.sort_by_key(|one| one.number);
        rest.extend(due.split_off(most.min(due.len())));
        waiting = rest;
        let batch = shuffled(&mut rng, due);
        let repeat = rng.u32(..8) == 0 && !world.weather.is_timed();
        if repeat {
            tokio::spawn(repeated(world.clone(), rng.fork(), batch.clone()));
        }
        deliver_batch(&world, &mut rng, batch).await;
        world.pause(&mut rng, window).await;
    }
}

/// Draws how late a record becomes available. Where readers are timed, everything is visible then.
fn delay(world: &World, rng: &mut Rng, record: &Record) -> Duration {
    let milliseconds = match rng.u32(..10) {
        number if world.weather.is_timed() => {
            let longest = if number == 0 { 400 } else { 20 };
            return record.settles_in + Duration::from_millis(rng.u64(..longest));
        }
        0 => rng.u64(..5_000),
        1 | 2 => rng.u64(..1_000),
        3..6 => rng.u64(..200),
        _ => rng.u64(..20),
    };
    Duration::from_millis(milliseconds)
}

/// Shuffles a batch between the items, and numbers its records.
fn shuffled(rng: &mut Rng, batch: Vec<Waiting>) -> Vec<(usize, Record)> {
    let mut items: Vec<Vec<Record>> = Vec::new();
    for Waiting { record, .. } in batch {
        match items.iter_mut().find(|item| item[0].is_of_same_item(&record)) {
            Some(item) => item.push(record),
            None => items.push(vec![record]),
        }
    }
    if rng.u32(..16) == 0 {
        items.push(vec![Record::poisoned()]);
    }
    rng.shuffle(&mut items);
    (1..).zip(items.into_iter().flatten()).collect()
}

/// Delivers a batch again, perhaps at the same time as others.
async fn repeated(world: Arc<World>, mut rng: Rng, batch: Vec<(usize, Record)>) {
    world.pause(&mut rng, 3_000).await;
    deliver_batch(&world, &mut rng, batch).await;
}

/// Delivers a batch as Lambda does: repeats it from the first failure, divides it if the function dies,
/// and in the end gives up.
async fn deliver_batch(world: &World, rng: &mut Rng, batch: Vec<(usize, Record)>) {
    let mut parts = vec![(batch, ATTEMPTS)];
    while let Some((mut batch, attempts)) = parts.pop() {
        let failed = invoke(world, &batch).await;
        let Some(failed) = failed else {
            if attempts > 1 {
                if batch.len() > 1 {
                    parts.push((batch.split_off(batch.len() / 2), attempts - 1));
                }
                parts.push((batch, attempts - 1));
            }
            world.pause(rng, 500).await;
            continue;
        };
        let first = failed.iter().map(|number| number.parse().unwrap_or(0)).min();
        if let Some(first) = first {
            batch.retain(|(number, _): &(usize, Record)| *number >= first);
            if attempts > 1 {
                parts.push((batch, attempts - 1));
            }
            world.pause(rng, 500).await;
        }
    }
}

/// Invokes `deliver` once. Returns the sequence numbers that failed; `None` if it died.
async fn invoke(world: &World, batch: &[(usize, Record)]) -> Option<Vec<String>> {
    let records: Vec<Value> = batch.iter().map(|(number, one)| one.to_json(*number)).collect();
    let texts: Vec<String> = batch.iter().map(|(_, record)| world.describe(record)).collect();
    world.dynamodb.note(&format!("deliver {}", texts.join(", ")));
    let publisher = world.sockets.publisher(world);
    let event = StreamEvent { records };
    let answer = world.invoke("deliver", |table| deliver(table, publisher, event)).await?;
    let failures = answer["batchItemFailures"].as_array().into_iter().flatten();
    let number =
        |failure: &Value| failure["itemIdentifier"].as_str().unwrap_or_default().to_owned();
    Some(failures.map(number).collect())
}
