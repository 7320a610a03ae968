//! Allocations from all kinds of Rust code: traits, closures, generic recursion, collections,
//! formatting, panics that are caught, threads.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::panic::{catch_unwind, set_hook};
use std::thread;

trait Shape {
    fn name(&self, depth: usize) -> String;
}

struct Square(Vec<u8>);
struct Circle(Box<dyn Shape>);

impl Shape for Square {
    #[inline(never)]
    fn name(&self, depth: usize) -> String {
        format!("square {depth} of {:?}", &self.0[..self.0.len().min(4)])
    }
}

impl Shape for Circle {
    #[inline(never)]
    fn name(&self, depth: usize) -> String {
        let mut text = String::from("circle around ");
        if depth > 0 {
            text += &self.0.name(depth - 1);
        }
        text
    }
}

#[inline(never)]
fn nested(depth: usize) -> Box<dyn Shape> {
    let inside = Box::new(Square(vec![depth as u8; depth % 7 + 1]));
    (0..depth).fold(inside as Box<dyn Shape>, |shape, _| Box::new(Circle(shape)))
}

#[inline(never)]
fn recursive<T: Clone>(values: &[T], work: &mut dyn FnMut(Vec<T>)) {
    if let Some((_, rest)) = values.split_first() {
        work(rest.to_vec());
        recursive(rest, work);
    }
}

#[inline(never)]
fn panics(depth: usize) -> usize {
    let room = vec![0u8; depth + 1];
    if depth == 0 {
        panic!("caught, with a message of {} bytes", room.len());
    }
    panics(depth - 1) + room.len()
}

fn all(rounds: usize) -> usize {
    let mut words: HashMap<String, Vec<usize>> = HashMap::new();
    let mut sorted = BTreeMap::new();
    let mut bytes = 0;
    for round in 0..rounds {
        let shape = nested(round % 12);
        words.entry(shape.name(round % 14)).or_default().push(round);
        let values: Vec<String> = (0..round % 20).map(|n| n.to_string()).collect();
        recursive(&values, &mut |rest| bytes += rest.concat().len());
        let mut text = String::new();
        for (word, rounds) in words.iter().take(10) {
            let _ = write!(text, "{word}: {rounds:?}; ");
        }
        sorted.insert(text, round);
        bytes += catch_unwind(|| panics(round % 9)).unwrap_or(1);
        if sorted.len() > 50 {
            sorted.clear();
            words.clear();
        }
    }
    bytes
}

fn main() {
    set_hook(Box::new(|_| {}));
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let others: Vec<_> = (0..2).map(|_| thread::spawn(move || all(rounds))).collect();
    let mut bytes = all(rounds);
    for other in others {
        bytes += other.join().unwrap_or(0);
    }
    println!("{bytes}");
}
