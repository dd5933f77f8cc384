//! What every program does before its work is little.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::place::Place;
use super::rig::{our_binary, run};

/// To know the local time takes one file. By its name the zone would be looked up among all of the world.
#[test]
fn nobody_walks_through_all_time_zones() {
    let Some(place) = Place::new() else { return };
    place.mkdir("mnt");
    let (conf, mnt) = (place.path("imapd.conf"), place.path("mnt"));
    let (conf, mnt) = (conf.to_str().unwrap(), mnt.to_str().unwrap());
    let config = format!("config={conf}");
    for (tool, words) in [
        ("ctl_backups", vec!["-C", conf, "list", "carol"]),
        ("cyr_backup", vec!["-C", conf, "carol", "list", "all"]),
        (
            "mount-cyrusbackup",
            vec!["-f", "-o", config.as_str(), "carol", mnt],
        ),
    ] {
        let trace = place.path("opened");
        let mut strace = std::process::Command::new("strace");
        strace
            .args(["-f", "-e", "trace=openat,getdents64", "-o"])
            .arg(&trace);
        strace.arg(our_binary(tool)).args(words).env_remove("TZ");
        let output = run(&mut strace, Duration::from_secs(180));
        assert_eq!(output.code, Some(0), "{tool}: {}", output.err);
        let trace = fs::read_to_string(trace).unwrap();
        assert!(trace.contains("imapd.conf"), "{tool}: {trace}");
        if Path::new("/etc/localtime").exists() {
            let walks = trace.lines().find(|call| call.contains("zoneinfo"));
            assert_eq!(walks, None, "{tool}");
        }
    }
}
