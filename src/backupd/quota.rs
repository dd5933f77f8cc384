//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections.
pub(crate) struct Quota {
    all: usize,
    per_address: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    /// There was one.
    ever: bool,
    addresses: HashMap<IpAddr, usize>,
}

/// The place of one connection; dropping it frees the place.
pub(crate) struct Place {
    quota: Arc<Quota>,
    address: Option<IpAddr>,
}

impl Quota {
    pub(crate) fn new(all: usize, per_address: usize) -> Arc<Quota> {
        Arc::new(Quota {
            all,
            per_address,
            counts: Mutex::default(),
        })
    }

    /// A place for a peer, or why there is none. Peers without an address (unix sockets) count only
    /// towards all. IPv6 peers are counted by /64, which is what one host can choose from.
    pub(crate) fn admit(self: &Arc<Quota>, peer: Option<IpAddr>) -> Result<Place, &'static str> {
        let address = peer.map(network);
        let mut counts = self.lock();
        if counts.all >= self.all {
            return Err("too many connections");
        }
        if let Some(address) = address {
            let used = counts.addresses.entry(address).or_default();
            if *used >= self.per_address {
                return Err("too many connections from this address");
            }
            *used += 1;
        }
        counts.all += 1;
        counts.ever = true;
        Ok(Place {
            quota: Arc::clone(self),
            address,
        })
    }

    /// There were connections, and now there are none.
    pub(crate) fn is_idle(&self) -> bool {
        let counts = self.lock();
        counts.all == 0 && counts.ever
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.quota.lock();
        counts.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(used) = counts.addresses.get_mut(&address) {
            *used -= 1;
            if *used == 0 {
                counts.addresses.remove(&address);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let quota = Quota::new(4, 2);
        let one = Some("192.0.2.1".parse().unwrap());
        let mapped = Some("::ffff:192.0.2.1".parse().unwrap());
        let six = |text: &str| Some(text.parse().unwrap());
        let first = quota.admit(one).unwrap();
        let _second = quota.admit(mapped).unwrap();
        assert!(
            quota.admit(one).is_err(),
            "the mapped form is the same host"
        );
        let _third = quota.admit(six("2001:db8::1")).unwrap();
        let _fourth = quota.admit(six("2001:db8::2:1")).unwrap();
        assert_eq!(quota.admit(None).err(), Some("too many connections"));
        drop(first);
        assert!(
            quota.admit(six("2001:db8::3")).is_err(),
            "two from that /64 already"
        );
        let fifth = quota.admit(one).unwrap();
        drop((fifth, _second, _third, _fourth));
        assert!(quota.lock().addresses.is_empty());
        assert_eq!(quota.lock().all, 0);
    }
}
