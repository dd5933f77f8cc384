//! How a command is written and its answer recognised: bare towards a sync_server or backupd, tagged and with
//! `SYNC` in front towards an imapd (spec: csync 1.7).

/// Who is on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// sync_server, backupd.
    Csync,
    /// imapd; how many tags were used.
    Imap(u32),
}

impl Dialect {
    /// The line of a command, up to the end of `line`; the tag is used up.
    pub(super) fn command(&mut self, line: &[u8]) -> Vec<u8> {
        let Dialect::Imap(number) = self else {
            return line.to_vec();
        };
        *number += 1;
        let tag = format!("S{number} ").into_bytes();
        match line {
            b"EXIT" => [&tag[..], b"LOGOUT"].concat(),
            b"NOOP" => [&tag[..], b"NOOP"].concat(),
            _ => [&tag[..], b"SYNC", line].concat(),
        }
    }

    /// The final line of the present command without its tag; `None` for untagged data.
    pub(super) fn finish<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Dialect::Csync => (!line.starts_with(b"* ")).then_some(line),
            Dialect::Imap(number) => line
                .strip_prefix(format!("S{number} ").as_bytes())
                .or_else(|| (!line.starts_with(b"* ")).then_some(line)),
        }
    }

    /// Untagged text that is no data: imapd's remarks.
    pub(super) fn is_remark(&self, text: &[u8]) -> bool {
        let words: [&[u8]; 4] = [b"OK ", b"BYE ", b"CAPABILITY ", b"PREAUTH "];
        matches!(self, Dialect::Imap(_)) && words.iter().any(|word| text.starts_with(word))
    }
}

/// What an imapd can do, by the `[CAPABILITY …]` of its banner or answer.
pub(super) fn imap_capabilities(text: &str) -> Vec<String> {
    let list = text
        .split_once("[CAPABILITY ")
        .and_then(|(_, rest)| rest.split_once(']'));
    let words = list.map_or("", |(list, _)| list).split(' ');
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imapd_wants_tags_and_sync() {
        let mut imap = Dialect::Imap(0);
        assert_eq!(imap.command(b"GET USER anne"), b"S1 SYNCGET USER anne");
        assert_eq!(imap.command(b"EXIT"), b"S2 LOGOUT");
        assert_eq!(imap.finish(b"S2 OK Completed"), Some(&b"OK Completed"[..]));
        assert_eq!(imap.finish(b"* BYE LOGOUT received"), None);
        assert!(imap.is_remark(b"BYE LOGOUT received"));
        let mut csync = Dialect::Csync;
        assert_eq!(csync.command(b"GET USER anne"), b"GET USER anne");
        assert_eq!(csync.finish(b"OK success"), Some(&b"OK success"[..]));
        assert!(!csync.is_remark(b"OK "));
    }
}
