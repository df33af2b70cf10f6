//! What an excerpt shows of a file: its lines as they are, but stars for the values of keys that name a secret.
//!
//! Used by `diagnostic`. The marked value is of no use to whoever reads a password over a shoulder or in the log of a
//! build, and neither are those on the lines around it. Stars take as many bytes as what they hide, so that every place
//! stays where it is.

/// Parts of the names of what must not be seen, in lower case.
const SECRET_WORDS: [&str; 6] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "api_key",
];

/// Hides the values of secrets in a piece of a Compose file.
pub(super) fn masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        mask_line(line, &mut shown);
    }
    shown
}

fn mask_line(line: &str, shown: &mut String) {
    let mut rest = line;
    while let Some((before, value)) = split_pair(rest) {
        shown.push_str(before);
        let name = before.trim_end_matches([' ', ':', '=', '"', '\'']);
        let other = |next: char| !next.is_ascii_alphanumeric() && !matches!(next, '_' | '-' | '.');
        if name.rsplit(other).next().is_some_and(is_secret) {
            let length = value_length(value);
            mask(&value[..length], shown);
            rest = &value[length..];
        } else {
            rest = value;
        }
    }
    shown.push_str(rest);
}

/// Splits behind the next `KEY: ` or `KEY=`.
fn split_pair(line: &str) -> Option<(&str, &str)> {
    let mut ends = line.match_indices([':', '=']);
    let end = ends.find_map(|(at, sign)| {
        let after = &line[at + 1..];
        (sign == "=" || after.starts_with([' ', '\n', '\r'])).then(|| {
            let blanks = after.len() - after.trim_start_matches(' ').len();
            at + 1 + blanks
        })
    })?;
    Some(line.split_at(end))
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_key = name.ends_with("_KEY") || name == "KEY";
    lower != "secrets" && (is_key || SECRET_WORDS.iter().any(|word| lower.contains(word)))
}

/// Returns how long a value is that begins a text: to its closing quote, or to what ends it in brackets or on its line.
fn value_length(text: &str) -> usize {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].find(quote).map_or(text.len(), |at| at + 2),
        // A collection is looked into, and an anchor, an alias or a tag holds no secret.
        Some('[' | '{' | '&' | '*' | '!') => 0,
        _ => text
            .find([',', '}', ']', '"', '\'', '\n', '\r'])
            .unwrap_or(text.len()),
    }
}

/// Writes stars for a value; variables are shown, because nobody can tell their values from them.
fn mask(value: &str, shown: &mut String) {
    if value.trim_matches(['"', '\'', ' ']).starts_with('$') {
        shown.push_str(value);
        return;
    }
    for byte in value.bytes() {
        let kept = matches!(byte, b'"' | b'\'' | b' ' | b'\n' | b'\r');
        shown.push(if kept { char::from(byte) } else { '*' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_values_of_secrets_and_nothing_else() {
        for (text, want) in [
            (
                "DB_PASSWORD: hunter2\nA: b\n",
                "DB_PASSWORD: *******\nA: b\n",
            ),
            ("- API_TOKEN=hunter2", "- API_TOKEN=*******"),
            (
                "{A: 1, MY_KEY: 'h\u{e9}', B: 2}",
                "{A: 1, MY_KEY: '***', B: 2}",
            ),
            ("['PASSWORD=x y', b]", "['PASSWORD=* *', b]"),
            ("\"secret_word\": \"a\"", "\"secret_word\": \"*\""),
            ("PASSWORD: ${PASSWORD}", "PASSWORD: ${PASSWORD}"),
            ("secrets: [key]", "secrets: [key]"),
            ("image: a:b", "image: a:b"),
            ("url: http://x/?token=abc&d", "url: http://x/?token=*****"),
            ("", ""),
        ] {
            assert_eq!(masked(text), want);
            assert_eq!(masked(text).len(), text.len());
        }
    }
}
