//! The modules of `examples/push_maildir`, so that both servers are sent what that client sends.

#[path = "../examples/push_maildir/folder.rs"]
pub mod folder;
#[path = "../examples/push_maildir/push.rs"]
pub mod push;
#[path = "../examples/push_maildir/state.rs"]
pub mod state;
