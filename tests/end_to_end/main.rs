//! The main job from end to end: Debian's imapd and `sync_client`, a backupd, C's tools on what it wrote.
//!
//! `RIG_ENGINE=c` puts C's backupd in the place of ours: what then fails is the rig, not us.

#[path = "../rig/mod.rs"]
mod rig;

mod world;
#[test]
fn smoke() {
    let Some(mut world) = world::World::new() else { return };
    let mut anne = world.source.add_user("anne");
    let mut mail = rig::Mail::new(1);
    let bodies: Vec<_> = (0..20).map(|_| mail.small()).collect();
    let appends: Vec<_> = bodies.iter().map(|body| rig::Append { flags: "\\Seen", date: None, body }).collect();
    anne.append("INBOX", &appends);
    world.user("anne");
    world.settle("first sync");
}
