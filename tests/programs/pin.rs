//! As pin.c: sessions in boxes, each of which holds a page.

struct Session {
    _state: [u64; 6],
}

#[inline(never)]
fn keep_session(kept: &mut Vec<Box<Session>>, number: u64) {
    let session = Box::new(Session { _state: [number; 6] }); // SITE
    kept.push(session);
}

fn main() {
    const SESSIONS: usize = 10_000;
    let mut requests: Vec<Vec<u8>> = Vec::with_capacity(SESSIONS);
    let mut kept = Vec::with_capacity(SESSIONS);
    for number in 0..SESSIONS {
        requests.push(vec![1; 4000]);
        keep_session(&mut kept, number as u64);
    }
    requests.clear();
    std::process::exit(i32::from(kept.len() != SESSIONS));
}
