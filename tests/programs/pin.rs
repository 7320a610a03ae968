//! As pin.c: sessions in boxes, each of which holds a page. With an argument they are in one piece,
//! and the pages go back.

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
    let pooled = std::env::args().count() > 1;
    let mut pool: Vec<Session> = Vec::with_capacity(if pooled { SESSIONS } else { 0 });
    for number in 0..SESSIONS {
        requests.push(vec![1; 4000]);
        if pooled {
            pool.push(Session { _state: [number as u64; 6] });
        } else {
            keep_session(&mut kept, number as u64);
        }
    }
    requests.clear();
    std::hint::black_box(&pool);
    std::process::exit(i32::from(kept.len() + pool.len() != SESSIONS));
}
