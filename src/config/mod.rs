//! imapd.conf: the line grammar and the typed options. Read once, passed down as values
//! (spec: ondisk 1).
