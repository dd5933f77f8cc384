//! Data flows one way within a room: no file uses, perhaps by way of others, one that uses it. A file that
//! passes on (`pub use`) what is in those below it does not use them. Tests are not asked.

use super::USES;
use super::room::Room;

/// Circles that are still there: one algorithm over one file, cut into its verbs.
const KNOWN: [&[&str]; 1] = [&[
    "store/twoskip/chain.rs",
    "store/twoskip/header.rs",
    "store/twoskip/mod.rs",
    "store/twoskip/rebuild.rs",
    "store/twoskip/recover.rs",
    "store/twoskip/salvage.rs",
    "store/twoskip/search.rs",
    "store/twoskip/transaction.rs",
]];

#[test]
fn the_files_of_a_room_use_each_other_one_way() {
    let mut wrong = Vec::new();
    let mut known = KNOWN.to_vec();
    for (name, _) in USES {
        let room = Room::read(name);
        for circle in room.circles() {
            let before = known.len();
            known.retain(|files| *files != circle);
            if known.len() == before {
                wrong.push((circle.join(", "), room.edges(&circle)));
            }
        }
    }
    assert!(wrong.is_empty(), "circles: {wrong:#?}");
    assert!(known.is_empty(), "no circles any more: {known:#?}");
}
