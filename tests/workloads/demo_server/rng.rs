//! Random numbers that are the same on every run: the demo's heap must be, too.

/// xorshift64*: small, without state outside, good enough to vary lengths.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A second source whose numbers do not depend on how many are taken from this one.
    pub fn fork(&mut self) -> Rng {
        Rng::new(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from `low` up to and without `high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() >> 33) as usize % (high - low)
    }

    /// One of the words given.
    pub fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.between(0, words.len())]
    }
}
