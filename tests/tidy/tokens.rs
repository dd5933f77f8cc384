//! A Rust file as the words and signs that count: no comments, no strings, nothing that only tests see.

/// The tokens of a source text. Numbers are words; `::` is one sign, all others are single characters.
pub fn tokens(source: &str) -> Vec<String> {
    let mut rest = source;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => string(rest),
            'r' | 'b' if is_raw(rest) => raw(rest),
            '\'' => quote(rest),
            _ if is_letter(first) => rest.find(|c| !is_letter(c)).unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        let skipped = token.starts_with("//") || token.contains(['"', '\'']);
        if !skipped && !first.is_whitespace() {
            tokens.push(token.to_owned());
        }
        rest = behind;
    }
    tokens
}

/// Is it a name, a keyword or a number?
pub fn is_word(token: &str) -> bool {
    token.chars().all(is_letter)
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text[1..].find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

fn is_raw(text: &str) -> bool {
    let behind = text.trim_start_matches('b');
    text.len() - behind.len() < 2
        && behind
            .strip_prefix('r')
            .is_some_and(|behind| behind.trim_start_matches('#').starts_with('"'))
}

fn raw(text: &str) -> usize {
    let open = text.find('"').unwrap_or(0);
    let end = format!("\"{}", "#".repeat(text[..open].matches('#').count()));
    let close = text[open + 1..].find(&end);
    close.map_or(text.len(), |close| open + 1 + close + end.len())
}

/// A character, or the sign before a lifetime.
fn quote(text: &str) -> usize {
    let mut behind = text.char_indices().skip(1);
    match (behind.next(), behind.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            let close = text[escaped + 1..].find('\'');
            close.map_or(text.len(), |close| escaped + close + 2)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// Takes out what stands behind `#[cfg(test)]`; the names of the modules among it.
pub fn without_tests(tokens: &mut Vec<String>) -> Vec<String> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut modules = Vec::new();
    while let Some(start) = tokens.windows(mark.len()).position(|seven| seven == mark) {
        let end = item_end(tokens, start + mark.len());
        let item = &tokens[start..end];
        let name = item.windows(2).find(|two| two[0] == "mod");
        modules.extend(name.map(|two| two[1].clone()));
        tokens.drain(start..end);
    }
    modules
}

/// Behind the `;` or the braces that end an item, its attributes included.
fn item_end(tokens: &[String], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (token == ";" || token == "}") {
            return at + 1;
        }
    }
    tokens.len()
}

#[test]
fn only_code_counts() {
    let source = r##"
        // super::comment
        use super::a::{b, c as d}; // x
        const S: &str = "super::string \" {";
        const R: &str = r#"super::raw " {"#;
        const C: [char; 3] = ['{', '\'', '\u{7b}'];
        #[cfg(test)]
        #[path = "x.rs"]
        mod tests;
        #[cfg(test)]
        mod fake { fn f() { super::f() } }
        fn f<'a>(x: &'a u8) {}
    "##;
    let mut found = tokens(source);
    assert_eq!(without_tests(&mut found), ["tests", "fake"]);
    let text = found.join(" ");
    assert!(
        text.starts_with("use super :: a :: { b , c as d } ; const S"),
        "{text}"
    );
    assert!(
        !["comment", "string", "raw", "tests", "fake"]
            .iter()
            .any(|word| text.contains(word)),
        "{text}"
    );
    assert!(text.ends_with("; fn f < a > ( x : & a u8 ) { }"), "{text}");
}
