//! Small blocks between large ones, as services in Rust keep them, with a line printed after
//! each step: the first one makes stdout take its buffer. What is true is told by
//! tests/programs/checkpoint_for_rust.c, which this is linked with.
//!
//!   interleaved [first]   with an argument: a line is printed before there are blocks

const PAIRS: usize = 5000;
const STDOUT_BYTES: usize = 1024;
const REST: std::time::Duration = std::time::Duration::from_millis(300);
const SLOT_BYTES: usize = std::mem::size_of::<Option<Vec<u8>>>();

extern "C" {
    fn checkpoint(when: *const u8, live_bytes: u64);
    fn _exit(status: i32) -> !;
}

fn tell(when: &str, live_bytes: usize) {
    assert!(when.ends_with('\0'));
    // SAFETY: the text ends with a zero, and lives until the call is over.
    unsafe { checkpoint(when.as_ptr(), live_bytes as u64) }
}

fn main() {
    let first = std::env::args().count() > 1;
    if first {
        println!("begin");
    }
    tell("begin\0", 0);
    let mut slots: Vec<Option<Vec<u8>>> = Vec::with_capacity(2 * PAIRS);
    for number in 0..2 * PAIRS {
        slots.push(Some(vec![1; if number % 2 == 0 { 64 } else { 4096 }]));
    }
    println!("filled");
    let others = 2 * PAIRS * SLOT_BYTES + if first { 0 } else { STDOUT_BYTES };
    tell("filled\0", others + PAIRS * (64 + 4096));
    for slot in slots.iter_mut().step_by(2) {
        *slot = None;
    }
    println!("without small");
    tell("without_small\0", others + PAIRS * 4096);
    for slot in &mut slots {
        *slot = None;
    }
    println!("without any");
    tell("without_any\0", others);
    // A service lives on, and what it holds is judged only after a while. The way out of main would
    // free stdout's buffer.
    std::thread::sleep(REST);
    std::hint::black_box(&slots);
    // SAFETY: nothing is left to be done.
    unsafe { _exit(0) }
}
