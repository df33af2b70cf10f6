//! How one text is written: bare, in quotes, line by line, broken at its spaces.
//!
//! Used by the serializer beside it.

use std::{borrow::Cow, fmt::Write as _};

use hoist::load;

/// Columns after which a text is broken.
pub(super) const WIDTH: usize = 80;

/// Says at one glance that a text is one to every reader, as nearly all are: a letter or `/`, then no blanks, and not
/// as short as the words for truth and nothing.
pub(super) fn is_simple(text: &str) -> bool {
    let bytes = text.as_bytes();
    let letter = match bytes.first() {
        Some(b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'o' | b'O') => {
            bytes.len() > "false".len()
        }
        Some(first) => first.is_ascii_alphabetic() || *first == b'/',
        None => false,
    };
    letter && bytes.iter().all(u8::is_ascii_graphic) && !text.ends_with(':')
}

/// Says whether a text is best written line by line.
pub(super) fn is_literal(text: &str) -> bool {
    let printable = |next: char| next == '\n' || next == '\t' || !is_escaped(next);
    text.contains('\n')
        && text.contains(|next| next != '\n')
        && text.chars().all(printable)
        && !text.contains(" \n")
        && !text.ends_with(' ')
}

/// Writes a text on one line, in quotes where it needs them.
pub(super) fn inline(text: &str) -> Cow<'_, str> {
    if text == "<<" {
        return "'<<'".into();
    }
    if text.contains(is_escaped) || !load::is_plain_text(text) {
        return double_quoted(text).into();
    }
    if load::is_old_word(text) || !is_plain(text) {
        return format!("'{}'", text.replace('\'', "''")).into();
    }
    text.into()
}

/// Breaks a long text at its spaces, as docker compose does: behind the first word that ends beyond the width.
pub(super) fn folded(text: &str, mut column: usize, depth: usize) -> String {
    let quote = text
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''));
    let first = usize::from(quote.is_some());
    let last = text.len() - first - 1;
    let mut folded = String::with_capacity(text.len() + 16);
    let mut after_space = false;
    for (at, next) in text.char_indices() {
        let before_space = text[at + next.len_utf8()..].starts_with(' ');
        let may = match quote {
            Some('"') => at > first && at < last,
            Some(_) => at > first && at < last && !before_space,
            None => !before_space,
        };
        if next == ' ' && !after_space && column > WIDTH && may {
            folded.push('\n');
            folded.extend(std::iter::repeat_n(' ', depth));
            column = depth;
            if quote == Some('"') && before_space {
                folded.push('\\');
                column += 1;
            }
        } else {
            folded.push(next);
            column += 1;
        }
        after_space = next == ' ';
    }
    folded
}

fn is_plain(text: &str) -> bool {
    let first = text.chars().next();
    let indicator = |first: char| ",[]{}#&*!|>'\"%@`".contains(first);
    let dash = |first: char| {
        matches!(first, '-' | '?' | ':') && text[1..].chars().next().is_none_or(|next| next == ' ')
    };
    first.is_some_and(|first| !indicator(first) && !dash(first))
        && text.trim_matches([' ', '\t', '\u{2028}', '\u{2029}']) == text
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with(':')
        && !text.starts_with("---")
        && !text.starts_with("...")
}

/// Says whether a character is written by its number: docker compose writes those beyond the first plane so too.
fn is_escaped(next: char) -> bool {
    next.is_control() || next == '\u{feff}' || next > '\u{ffff}'
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for next in text.chars() {
        match next {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0' => quoted.push_str("\\0"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\u{1b}' => quoted.push_str("\\e"),
            '\u{85}' => quoted.push_str("\\N"),
            next if is_escaped(next) => {
                let number = u32::from(next);
                let written = match number {
                    ..=0xff => write!(quoted, "\\x{number:02X}"),
                    0x100..=0xffff => write!(quoted, "\\u{number:04X}"),
                    _ => write!(quoted, "\\U{number:08X}"),
                };
                written.expect("writing to a string never fails");
            }
            next => quoted.push(next),
        }
    }
    quoted.push('"');
    quoted
}
