//! How high a new record reaches (spec: ondisk 3.3).
//!
//! Levels only make searches fast; any drawing is correct. Tests bring their own.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// The highest level of a record.
pub(super) const MAX: u8 = 31;

/// Where levels come from.
pub(super) type Draw<'a> = &'a mut dyn FnMut() -> u8;

/// 1, then one more with probability 1/2 each, at most [`MAX`].
pub(super) fn random() -> u8 {
    // Every RandomState hashes with keys of its own: 64 random bits without another dependency.
    from_bits(RandomState::new().build_hasher().finish())
}

fn from_bits(bits: u64) -> u8 {
    (bits.trailing_ones() as u8 + 1).min(MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_records_stay_at_each_level() {
        assert_eq!(from_bits(0), 1);
        assert_eq!(from_bits(0b0111), 4);
        assert_eq!(from_bits(u64::MAX), 31);
        let ones = (0..2000).filter(|_| random() == 1).count();
        assert!((800..1200).contains(&ones), "{ones} of 2000 have level 1");
    }
}
