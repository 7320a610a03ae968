//! A cache with a bound, as services have it: entries come in the place of others.
//!
//!   caches varying|fixed|cleared|loaded
//!
//! *varying*: entries of any size up to 8 KiB. *fixed*: as many bytes in entries of one size.
//! *cleared*: varying, but emptied every now and then, so that it fills up anew. *loaded*: no cache, but
//! data that are read once and stay.

use std::hint::black_box;
use std::thread::sleep;
use std::time::Duration;

const BOUND_BYTES: usize = 48 << 20;
const MOST_BYTES: usize = 8 << 10;
const PUTS: usize = 150_000;
const ROUNDS: usize = 10;
const REST: Duration = Duration::from_millis(20);

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

#[derive(Default)]
struct Cache {
    entries: Vec<Vec<u8>>,
    bytes: usize,
}

impl Cache {
    #[inline(never)]
    fn put(&mut self, bytes: usize, random: &mut Random) {
        while self.bytes + bytes > BOUND_BYTES {
            let evicted = self.entries.swap_remove(random.below(self.entries.len()));
            self.bytes -= evicted.len();
        }
        self.entries.push(vec![1; bytes]);
        self.bytes += bytes;
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

fn main() {
    let kind = std::env::args().nth(1).unwrap_or_default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut cache = Cache::default();
    for round in 0..ROUNDS {
        if kind == "cleared" && round == ROUNDS / 2 {
            cache.clear();
        }
        for _ in 0..PUTS / ROUNDS {
            let any = random.below(MOST_BYTES) + 1;
            let bytes = if kind == "fixed" { MOST_BYTES / 2 } else { any };
            if kind != "loaded" || cache.bytes + bytes <= BOUND_BYTES {
                cache.put(bytes, &mut random);
            }
        }
        sleep(REST);
    }
    black_box(&cache.entries);
    println!("live {}", cache.bytes);
    std::process::exit(0);
}
