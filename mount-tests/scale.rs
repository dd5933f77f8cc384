//! A mailbox of 100,000 messages lists in linear time.

use std::time::{Duration, Instant};

use crate::support::{Mount, Scratch, can_mount};

/// Time to list a mailbox of this many messages with all attributes.
fn list(scratch: &Scratch, folder: &str, count: usize) -> Duration {
    let mount = Mount::new(&scratch.spec(), "ro");
    // The index is read by then, so that only the listing counts.
    mount
        .join(format!("mailboxes/{folder}/1.eml"))
        .metadata()
        .unwrap();
    let start = Instant::now();
    let entries = std::fs::read_dir(mount.join(format!("mailboxes/{folder}"))).unwrap();
    let bytes: u64 = entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    let took = start.elapsed();
    assert!(bytes > count as u64);
    assert_eq!(mount.list(&format!("mailboxes/{folder}")).len(), count);
    took
}

#[test]
fn listing_is_linear() {
    if !can_mount() {
        return;
    }
    const SMALL: usize = 10_000;
    const LARGE: usize = 100_000;
    let scratch = Scratch::empty("anne_AAAAAA");
    let body = |number: usize| format!("message {number}").into_bytes();
    let bodies: Vec<_> = (0..LARGE).map(body).collect();
    scratch.append("user.anne.Small", &bodies[..SMALL], 1000);
    scratch.append("user.anne.Large", &bodies, 1000);
    // The quickest of three, since other programs run too.
    let best = |folder, count| (0..3).map(|_| list(&scratch, folder, count)).min().unwrap();
    let (small, large) = (best("Small", SMALL), best("Large", LARGE));
    let factor = large.as_secs_f64() / small.as_secs_f64();
    eprintln!("{SMALL} in {small:?}, {LARGE} in {large:?}: factor {factor:.1} for 10");
    // Quadratic would be 100.
    assert!(
        factor < 30.0,
        "{small:?} for {SMALL}, {large:?} for {LARGE}"
    );
}
