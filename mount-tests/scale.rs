//! A mailbox of 100,000 messages lists in linear time, a mount of 5,000 users is ready at once, and both in
//! little memory. The figures are printed.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Mount, Scratch, Site, can_mount, message, sh};

/// The daemon's memory in MB that 100,000 messages in one folder may take.
const MUCH: u64 = 150;

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
    let peak = mount.peak();
    eprintln!("{count} messages listed in {took:?}, the daemon takes {peak} MB at most");
    assert!(peak < MUCH, "{peak} MB");
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

/// A directory for each user, and no user opened for it; then many of them entered. `SOAK=1` enters all.
#[test]
fn thousands_of_users_cost_little() {
    if !can_mount() {
        return;
    }
    const USERS: usize = 5000;
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (0..5).map(|number| message(number, 2000)).collect();
    scratch.append("user.anne", &bodies, 5);
    let site = Site::of_copies(&scratch, USERS);

    let start = Instant::now();
    let mount = Mount::new("all", &site.option());
    let ready = start.elapsed();
    let start = Instant::now();
    let listed = sh(Command::new("ls").arg("-l").arg(mount.path()));
    let listing = start.elapsed();
    assert_eq!(listed.lines().count(), 1 + USERS);
    let small = mount.peak();

    // Far more than may keep memory; with SOAK all of them. The first one again at the end.
    let entered = std::env::var_os("SOAK").map_or(400, |_| USERS);
    let start = Instant::now();
    for number in (0..entered).chain([0]) {
        let one = format!("u{number:05}/mailboxes/INBOX/5.eml");
        assert!(mount.read(&one).unwrap() == bodies[4], "{one}");
    }
    let entering = start.elapsed();
    let all = mount.peak();
    eprintln!(
        "{USERS} users: ready in {ready:?}, ls -l in {listing:?}, the daemon takes {small} MB; a message of \
         {entered} read in {entering:?}, then {all} MB at most"
    );
    // Generous, since other programs run too.
    assert!(ready < Duration::from_secs(20), "{ready:?}");
    assert!(small < 30, "{small} MB");
    assert!(all < 100, "{all} MB");
}
