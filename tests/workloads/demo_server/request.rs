//! Requests: a dozen blocks that live for microseconds and are freed before the next request.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;

use crate::rng::Rng;

/// Takes the next request into the buffer, reads its fields, builds the answer, and forgets all.
pub fn answer(buffer: &mut String, user: Option<u64>, rng: &mut Rng) {
    buffer.clear();
    arrive(buffer, user, rng);
    let fields = read_fields(buffer);
    black_box(render(&fields));
}

fn arrive(line: &mut String, user: Option<u64>, rng: &mut Rng) {
    let _ = write!(line, "user={};page={}", user.unwrap_or(0), rng.between(1, 400));
    for number in 0..rng.between(2, 7) {
        let filter = rng.pick(&["colour", "size", "brand", "price", "rating"]);
        let _ = write!(line, ";{filter}{number}={}", rng.between(0, 100_000));
    }
}

fn read_fields(line: &str) -> BTreeMap<String, String> {
    line.split(';')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn render(fields: &BTreeMap<String, String>) -> String {
    let mut body = String::from("{");
    for (name, value) in fields {
        let _ = write!(body, "\"{name}\":\"{value}\",");
    }
    body.push('}');
    body
}
