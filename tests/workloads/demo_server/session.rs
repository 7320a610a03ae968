//! The session store: what lives long.
//!
//! Its table is sized once, at the start. What a login adds is one small text, the client's user
//! agent: some sixty bytes wherever the allocator happens to be just then.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rng::Rng;

/// Room for sessions in each shard, so that no table is ever moved.
const SESSIONS_PER_SHARD: usize = 28_000;
/// Upper bound of a user agent's length, to size the pool.
const USER_AGENT_BYTES: usize = 80;

/// Where a session's user agent is kept.
enum UserAgent {
    /// In a block of its own, made at login: the ailment.
    Own(Box<str>),
    /// A part of the shard's pool: the cure.
    Pooled(Range<usize>),
}

struct Session {
    user: u64,
    user_agent: UserAgent,
}

/// The sessions of one worker.
struct Shard {
    sessions: Vec<Session>,
    by_token: HashMap<u64, u32>,
    pool: Option<String>,
}

/// All sessions.
pub struct Store {
    shards: Vec<Mutex<Shard>>,
}

impl Store {
    /// An empty store; `pooled` reserves the room for user agents now instead of at each login.
    pub fn new(shards: usize, pooled: bool) -> Store {
        let shard = || Shard {
            sessions: Vec::with_capacity(SESSIONS_PER_SHARD),
            by_token: HashMap::with_capacity(SESSIONS_PER_SHARD),
            pool: pooled.then(|| String::with_capacity(SESSIONS_PER_SHARD * USER_AGENT_BYTES)),
        };
        Store { shards: (0..shards).map(|_| Mutex::new(shard())).collect() }
    }

    /// A client logs in: its session is kept for good.
    pub fn log_in(&self, shard: usize, client: &mut Rng) {
        let mut shard = self.shard(shard);
        if shard.sessions.len() == SESSIONS_PER_SHARD {
            return;
        }
        let user_agent = remember_user_agent(&mut shard, client);
        let index = shard.sessions.len() as u32;
        let user = client.next();
        shard.sessions.push(Session { user, user_agent });
        shard.by_token.insert(client.next(), index);
    }

    /// The user of some session of the shard, to send a request.
    pub fn any_user(&self, shard: usize, rng: &mut Rng) -> Option<u64> {
        let shard = self.shard(shard);
        let session = match shard.sessions.len() {
            0 => return None,
            len => &shard.sessions[rng.between(0, len)],
        };
        let agent_bytes = match &session.user_agent {
            UserAgent::Own(text) => text.len(),
            UserAgent::Pooled(range) => range.len(),
        };
        Some(session.user.wrapping_add(agent_bytes as u64))
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        (0..self.shards.len()).map(|shard| self.shard(shard).by_token.len()).sum()
    }

    fn shard(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps what the client's browser calls itself. This is the call site that holds the memory.
#[inline(never)]
fn remember_user_agent(shard: &mut Shard, client: &mut Rng) -> UserAgent {
    let system = client.pick(&["X11; Linux x86_64", "Windows NT 10.0; Win64; x64", "Macintosh"]);
    let browser = client.pick(&["Firefox", "Chrome", "Safari", "Edge"]);
    let parts =
        ["Mozilla/5.0 (", system, ") like Gecko ", browser, "/12", &"0.1"[..client.between(1, 4)]];
    match &mut shard.pool {
        None => UserAgent::Own(parts.concat().into_boxed_str()),
        Some(pool) => {
            let start = pool.len();
            pool.extend(parts);
            UserAgent::Pooled(start..pool.len())
        }
    }
}
