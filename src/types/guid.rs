//! The name of a message: SHA-1 over its raw octets (spec: csync 2.1).

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};

/// SHA-1 of a message, 20 bytes; printed as 40 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 20]);

/// Text that should be a GUID is not exactly 40 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a guid has exactly 40 hex digits")]
pub struct InvalidGuid;

impl Guid {
    /// The GUID of these octets.
    pub fn of(octets: &[u8]) -> Guid {
        Guid(Sha1::digest(octets).into())
    }

    /// Parses exactly 40 hex digits of either case; any other length is refused (C overruns its
    /// buffer here: spec ondisk 10.15).
    pub fn from_hex(hex: &[u8]) -> Result<Guid, InvalidGuid> {
        let digits: &[u8; 40] = hex.try_into().map_err(|_| InvalidGuid)?;
        let mut bytes = [0u8; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Guid(bytes))
    }

    /// From its raw bytes.
    pub fn from_bytes(bytes: [u8; 20]) -> Guid {
        Guid(bytes)
    }

    /// The 20 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

fn nibble(digit: u8) -> Result<u8, InvalidGuid> {
    (digit as char)
        .to_digit(16)
        .map(|n| n as u8)
        .ok_or(InvalidGuid)
}

impl FromStr for Guid {
    type Err = InvalidGuid;

    fn from_str(s: &str) -> Result<Guid, InvalidGuid> {
        Guid::from_hex(s.as_bytes())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

/// Computes a [`Guid`] while a message streams by.
#[derive(Clone, Default)]
pub struct GuidHasher(Sha1);

impl GuidHasher {
    /// Takes the next octets.
    pub fn update(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    /// The GUID of all octets taken.
    pub fn finish(self) -> Guid {
        Guid(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        let guid = Guid::of(b"");
        assert_eq!(guid.to_string(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(guid.to_string().to_uppercase().parse(), Ok(guid));
        for bad in [
            "",
            "da39",
            &"a".repeat(39),
            &"a".repeat(41),
            &"g".repeat(40),
            &"a".repeat(4000),
        ] {
            assert_eq!(bad.parse::<Guid>(), Err(InvalidGuid), "{bad}");
        }
    }
}
