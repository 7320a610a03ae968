//! Bursts of parsing with serde_json: each document becomes a tree of small blocks, of which the
//! names of its orders stay and all else goes.
//!
//!   json-bursts [cured]
//!
//! A name is a block of its own among those of its order, so it keeps their page. Cured: names are
//! copied into one buffer that was reserved before the first document.

use std::fmt::Write;
use std::hint::black_box;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

const DOCUMENTS: usize = 4;
/// Each document is larger than the one before: its tree does not fit in what that left.
const ORDERS: usize = 6_000;
/// Orders whose names are kept: one in so many.
const KEPT_ONE_IN: usize = 12;
const NAME_BYTES: usize = 40;
const ITEMS: &str = r#"{"sku":"a sort of thing","count":3},{"sku":"another one","count":5}"#;
const REST: Duration = Duration::from_millis(100);

fn document(orders: usize) -> String {
    let mut text = String::from("[");
    for number in 0..orders {
        let comma = if number > 0 { "," } else { "" };
        write!(
            text,
            "{comma}{{\"name\":\"{number:0NAME_BYTES$}\",\"items\":[{ITEMS}],\"note\":\"{:0>60}\",\"paid\":true}}",
            number * 7919
        )
        .expect("a text can be written to");
    }
    text.push(']');
    text
}

/// What the service goes on with after each document.
#[derive(Default)]
struct Names {
    each: Vec<String>,
    pool: Option<String>,
}

impl Names {
    #[inline(never)]
    fn keep(&mut self, order: &mut Value) {
        let Some(Value::String(name)) = order.get_mut("name") else { return };
        match &mut self.pool {
            Some(pool) => pool.push_str(name),
            None => self.each.push(std::mem::take(name)),
        }
    }
}

#[inline(never)]
fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("a document of ours is JSON")
}

fn main() {
    let cured = std::env::args().any(|word| word == "cured");
    let orders = |document: usize| ORDERS * (document + 2);
    let most: usize = (0..DOCUMENTS).map(|document| orders(document) / KEPT_ONE_IN + 1).sum();
    let mut names = Names { each: Vec::with_capacity(most), ..Names::default() };
    names.pool = cured.then(|| String::with_capacity(most * NAME_BYTES));
    let began = Instant::now();
    for number in 0..DOCUMENTS {
        let text = document(orders(number));
        let mut tree = parse(&text);
        let list = tree.as_array_mut().expect("a list");
        list.iter_mut().step_by(KEPT_ONE_IN).for_each(|order| names.keep(order));
        drop((tree, text));
        sleep(REST);
    }
    // Longer than from one document to the next, or what is idle might be for another one.
    let (over, took) = (Instant::now(), began.elapsed());
    while over.elapsed() < took {
        sleep(REST);
        black_box(vec![1u8; 24]);
    }
    black_box(&names);
    // What is kept is kept to the end.
    std::process::exit(0);
}
