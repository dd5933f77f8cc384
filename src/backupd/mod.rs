//! The csync server: sockets, login, sessions.
