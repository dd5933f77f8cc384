//! The tree as at a moment is what IMAP had then: ten moments of a random script of changes, looked at when all
//! is over, again when the backup was compacted, and again when it was compacted with a horizon among them.
//!
//! `MOMENT_SEED` chooses another script; `SOAK=1` makes the pauses between the moments longer (thirty changes).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::random::{Script, same};
use crate::rig::{Cyrus, Engine, Mount, attribute, run};
use crate::shown::shown;
use crate::state::{MailState, on_server};
use crate::world::World;

const MOMENTS: usize = 10;

/// What IMAP had at the end of a second.
struct Moment {
    time: i64,
    users: Vec<String>,
    had: MailState,
}

impl Moment {
    fn directory(&self) -> String {
        let time = jiff::Timestamp::from_second(self.time).expect("a time");
        format!("@{}", time.strftime("%Y-%m-%dT%H%M%SZ"))
    }
}

#[test]
fn ten_moments_are_what_imap_had() {
    let Some(cyrus) = Cyrus::find() else { return };
    let Some(world) = World::of(cyrus, Engine::Ours, "allowusermoves: yes\n") else {
        return;
    };
    let seed = std::env::var("MOMENT_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(20_261_124);
    let pause = std::env::var_os("SOAK").map_or(2, |_| 30);
    let mut script = Script::new(world, seed);
    let moments: Vec<Moment> = (0..MOMENTS)
        .map(|number| {
            (0..pause).for_each(|step| script.step(number * pause + step));
            remember(&script.world)
        })
        .collect();
    let world = script.world;
    let changed = moments.windows(2).filter(|two| two[0].had != two[1].had);
    let changed = 1 + changed.count();
    assert!(changed > MOMENTS / 2, "a dull script: {changed} states");

    let before = all_as_they_were(&world, "before compact", &moments);
    assert_eq!(before, MOMENTS);
    whole_mounts_too(&world, &moments);

    compact(&world, "30d");
    let after = all_as_they_were(&world, "after compact", &moments);
    assert_eq!(after, MOMENTS);

    // A horizon in the middle: what lies behind it is whole, what lies before is refused.
    let middle = moments[MOMENTS / 2].time;
    compact(&world, &format!("{}s", now() - middle));
    let left = all_as_they_were(&world, "after the horizon", &moments);
    eprintln!("seed {seed}: {changed} states, {left} of {MOMENTS} moments left behind the horizon");
    assert!((2..=MOMENTS).contains(&left), "{left} moments are left");
    world.backup.verify_with_c("at the end");
}

/// All changes have arrived; waits until the second is over, so that the next one comes later.
fn remember(world: &World) -> Moment {
    let had = on_server(world);
    let time = now();
    while now() == time {
        std::thread::sleep(Duration::from_millis(10));
    }
    Moment {
        time,
        users: world.users().to_vec(),
        had,
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs() as i64
}

/// Looks at all moments in one mount of all users; how many of them are known of everybody.
fn all_as_they_were(world: &World, when: &str, moments: &[Moment]) -> usize {
    let mount = Mount::new(&world.backup, "all");
    let known = moments.iter().filter(|moment| {
        let directory = moment.directory();
        let owners = moment.users.iter().map(String::as_str).chain(["%SHARED"]);
        let forgotten: Vec<&str> = owners
            .filter(|user| moment.time < oldest(&mount.path().join(user)))
            .collect();
        for user in &forgotten {
            let place = mount.path().join(user).join(&directory);
            let error = place.metadata().expect_err("a moment before the horizon");
            assert_eq!(error.raw_os_error(), Some(libc::ENODATA), "{when}: {user}");
        }
        if forgotten.is_empty() {
            let shown = shown(mount.path(), &moment.users, &directory);
            let step = format!("{when}, {directory}");
            same(&step, "IMAP then and the mount now", &moment.had, &shown);
        }
        forgotten.is_empty()
    });
    known.count()
}

/// `at=TIME` shows the same as the directory of that time.
fn whole_mounts_too(world: &World, moments: &[Moment]) {
    let all = Mount::new(&world.backup, "all");
    for moment in [&moments[2], &moments[MOMENTS - 2]] {
        let directory = moment.directory();
        let at = format!("at={}", &directory[1..]);
        let mount = Mount::with(&world.backup, "anne", &at);
        let there = all.path().join("anne").join(&directory);
        let mut diff = Command::new("diff");
        diff.arg("-r").arg(there).arg(mount.path());
        run(&mut diff, Duration::from_secs(120)).ok(&at);
    }
}

/// The first moment of which a user's directory knows everything.
fn oldest(user: &Path) -> i64 {
    let text = attribute(user, "user.cyrus.oldest").expect("how far back it goes");
    let time = jiff::fmt::strtime::parse("%Y-%m-%dT%H%M%SZ%z", format!("{text}+0000"));
    let time = time.and_then(|time| time.to_timestamp());
    time.expect("a time").as_second()
}

fn compact(world: &World, retention: &str) {
    let option = format!("backup_retention: {retention}\n");
    world.backup.set_options(&option);
    let args = ["-w", "-F", "-v", "compact", "-A"];
    let done = world.backup.our_tool("ctl_backups", &args).ok("compact");
    assert!(done.out.contains("compact anne: ok"), "{}", done.out);
}
