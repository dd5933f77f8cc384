//! The csync protocol as values: bytes → fragments → dlist → commands, and replies back to bytes.
//! Pure: no socket, disk, thread or clock (spec: csync 2 to 5).

pub mod base64;
pub mod command;
pub mod crc;
pub mod dlist;
pub mod fragment;
mod header;
pub mod response;

#[cfg(test)]
mod replay_tests;
