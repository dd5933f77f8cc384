//! Calendars and address books: Cyrus keeps each object as a message with a header, and programs want
//! the object alone. Pure.

use std::ops::Range;

/// What a mailbox of this type holds in its messages: a file suffix. The first letter says it
/// (spec: csync 5.3).
pub fn kind(mboxtype: &str) -> Option<&'static str> {
    match mboxtype.chars().next() {
        Some('c') => Some("ics"),
        Some('a') => Some("vcf"),
        _ => None,
    }
}

/// Where in a message its object is; `None` when it is not there as plain text.
pub fn find(octets: &[u8], kind: &str) -> Option<Range<u32>> {
    let end = memchr::memmem::find(octets, b"\r\n\r\n")?;
    let header = String::from_utf8_lossy(&octets[..end]).to_ascii_lowercase();
    let header = header.replace("\r\n ", " ").replace("\r\n\t", " ");
    let value = |name: &str| {
        let mut lines = header.split("\r\n");
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    let types: &[&str] = match kind {
        "ics" => &["text/calendar"],
        _ => &["text/vcard", "text/x-vcard"],
    };
    let found = value("content-type")?.split(';').next()?.trim();
    let encoding = value("content-transfer-encoding").unwrap_or("8bit");
    let plain = ["7bit", "8bit", "binary"].contains(&encoding);
    let (start, end) = (
        u32::try_from(end + 4).ok()?,
        u32::try_from(octets.len()).ok()?,
    );
    (types.contains(&found) && plain && start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_what_follows_the_header() {
        let message = b"Subject: x\r\nContent-Type: text/calendar;\r\n charset=utf-8\r\n\r\nBEGIN:VCALENDAR\r\n";
        let found = find(message, "ics").unwrap();
        assert_eq!(
            &message[found.start as usize..found.end as usize],
            b"BEGIN:VCALENDAR\r\n"
        );
        assert_eq!(find(message, "vcf"), None);
        let encoded =
            b"Content-Type: text/vcard\r\nContent-Transfer-Encoding: base64\r\n\r\nQkVHSU4=\r\n";
        assert_eq!(find(encoded, "vcf"), None);
        assert_eq!(find(b"Content-Type: text/vcard\r\n\r\n", "vcf"), None);
        assert_eq!(find(b"no header", "ics"), None);
        assert_eq!(
            (kind("c"), kind("ad"), kind("e"), kind("")),
            (Some("ics"), Some("vcf"), None, None)
        );
    }
}
