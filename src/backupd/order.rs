//! What whoever runs the server wants of it.

/// What the server shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Take connections.
    Serve,
    /// Take no more; those that are open go on to their end.
    Drain,
    /// Every session finishes the command at hand and is closed.
    Stop,
}
