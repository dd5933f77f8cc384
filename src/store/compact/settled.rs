//! "There is nothing to do" is remembered in the index, so that the next nights need not read the
//! whole file to find that out again. It holds for a file that nobody has changed, as long as time
//! passing makes nothing more superfluous: when everything in the file was said before the horizon,
//! or when there is no horizon.
//!
//! Damage that comes later is not seen by that; `verify` looks for it.

use super::live::Live;
use super::terms::Compact;
use crate::store::error::Result;
use crate::store::index::Index;
use crate::store::member::hex;

/// Whether nothing is to be done, as was found out before.
pub(super) fn is_settled(index: &Index, how: &Compact) -> Result<bool> {
    let (Some(noted), Some(terms)) = (index.settled()?, terms(index, how)?) else {
        return Ok(false);
    };
    let Some((noted_terms, horizon)) = noted.rsplit_once(' ') else {
        return Ok(false);
    };
    Ok(noted_terms == terms
        && match (horizon.parse::<i64>().ok(), how.horizon) {
            (Some(then), Some(now)) => then <= now,
            (then, now) => then == now,
        })
}

/// Notes that nothing is to be done, if that is going to stay so.
pub(super) fn note(index: &Index, how: &Compact, live: &Live) -> Result<()> {
    let stays = how.horizon.is_none() || live.is_all_old();
    match terms(index, how)?.filter(|_| stays) {
        None => Ok(()),
        Some(terms) => {
            let horizon = how.horizon.map_or("none".to_owned(), |at| at.to_string());
            index.set_settled(&format!("{terms} {horizon}"))
        }
    }
}

/// What the answer depends on: the file's bytes, by the state of their SHA-1, and the options.
fn terms(index: &Index, how: &Compact) -> Result<Option<String>> {
    let state = index.state()?;
    let (min, max, threshold) = (how.sizes.min, how.sizes.max, how.threshold);
    Ok(state.map(|state| format!("{} {min} {max} {threshold}", hex(&state.sha1))))
}
