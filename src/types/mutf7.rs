//! Modified UTF-7, the spelling of non-ASCII folder names (RFC 3501, 5.1.3): `Entw&APw-rfe`.
//!
//! Decoding is strict: only the one spelling that [`encode`] gives is accepted, so that two
//! different folders never show the same name.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// The text a folder name stands for; `None` when it is not (canonical) modified UTF-7.
pub fn decode(name: &str) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((plain, shifted)) = rest.split_once('&') {
        text.push_str(plain);
        let (base64, after) = shifted.split_once('-')?;
        match base64 {
            "" => text.push('&'),
            base64 => text.push_str(&decode_base64(base64)?),
        }
        rest = after;
    }
    text.push_str(rest);
    (encode(&text) == name).then_some(text)
}

/// Spells a text as a folder name.
pub fn encode(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let run = rest.find(is_plain).unwrap_or(rest.len());
        if run > 0 {
            name.push('&');
            encode_base64(&rest[..run], &mut name);
            name.push('-');
            rest = &rest[run..];
            continue;
        }
        name.push(c);
        if c == '&' {
            name.push('-');
        }
        rest = &rest[1..];
    }
    name
}

/// Printable ASCII stands for itself (`&` as `&-`).
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~')
}

fn decode_base64(base64: &str) -> Option<String> {
    let mut units = Vec::with_capacity(base64.len() / 2);
    let (mut bits, mut count) = (0u32, 0);
    for byte in base64.bytes() {
        let value = ALPHABET.iter().position(|&letter| letter == byte)?;
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count) as u16);
        }
    }
    String::from_utf16(&units).ok()
}

fn encode_base64(run: &str, name: &mut String) {
    let (mut bits, mut count) = (0u32, 0);
    let mut push = |sextet: u32| name.push(ALPHABET[(sextet & 63) as usize] as char);
    for unit in run.encode_utf16() {
        bits = bits << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            push(bits >> count);
        }
    }
    if count > 0 {
        push(bits << (6 - count));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_directions() {
        for (name, text) in [
            ("INBOX", "INBOX"),
            ("", ""),
            ("Entw&APw-rfe", "Entwürfe"),
            ("S.1&AOk-", "S.1é"),
            ("Q&-A", "Q&A"),
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("&2D3eAA-", "😀"),
            ("&AAo-", "\n"),
            ("&AOkA6Q-&-", "éé&"),
        ] {
            assert_eq!(decode(name).as_deref(), Some(text));
            assert_eq!(encode(text), name);
        }
    }

    #[test]
    fn anything_but_the_canonical_spelling_is_refused() {
        for name in [
            "&",
            "a&b",
            "&AGE-",
            "&AOk-&AOk-",
            "&AO-",
            "&AOl-",
            "&2D0-",
            "é",
            "&A/k-",
            "&AOkA-",
        ] {
            assert_eq!(decode(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(text in any::<String>()) {
            let name = encode(&text);
            prop_assert!(name.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(decode(&name), Some(text));
        }

        #[test]
        fn decoding_never_panics_and_is_injective(name in "[&A-D0,+/a-]{0,20}|\\PC{0,20}") {
            if let Some(text) = decode(&name) {
                prop_assert_eq!(encode(&text), name);
            }
        }
    }
}
