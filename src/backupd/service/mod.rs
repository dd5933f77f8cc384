//! What GET and APPLY mean, behind one trait: the session knows the wire, a [`Service`] knows the store.

use super::staging::Staging;
use crate::csync::command::{Apply, Get};
use crate::csync::response::Reply;

/// The store as one connection sees it. All calls may block.
pub trait Service: Send {
    /// Answers a GET: pushes untagged lines to `out` and returns the final reply.
    fn get(&mut self, get: Get, out: &mut Vec<u8>) -> Reply;

    /// Carries out an APPLY: everything but MESSAGE, CAPABILITIES and FORCE, which the session answers
    /// itself. `Reply::Ok` only once the change and every body it refers to are on stable storage.
    fn apply(&mut self, apply: Apply<'_>, staging: &mut Staging, out: &mut Vec<u8>) -> Reply;

    /// RESTART: commits and lets go of everything. The session clears the staging afterwards.
    fn restart(&mut self) -> Reply;

    /// Nothing came for some seconds: commit, release locks.
    fn idle(&mut self);

    /// The connection ends, by EXIT, end of file, error or shutdown.
    fn close(&mut self);
}

/// Makes the [`Service`] of one connection, once its peer is known to be an administrator.
pub type ServiceFactory = Box<dyn Fn() -> Box<dyn Service> + Send + Sync>;
