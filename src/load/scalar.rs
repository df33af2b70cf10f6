//! What a plain YAML scalar means, by the rules of the library that docker compose reads with (YAML 1.2 with the
//! octal numbers of 1.1): `yes` and `on` are text, `0777` and `0o777` are numbers, `22:22` is text.

use super::{node::Value, timestamp};

/// Resolves a plain scalar without a tag.
pub(super) fn resolve(text: &str) -> Value {
    match text.bytes().next() {
        None => Value::Null,
        Some(b'~' | b'n' | b'N' | b't' | b'T' | b'f' | b'F') => word(text),
        Some(b'0'..=b'9' | b'+' | b'-' | b'.') => number(text),
        Some(_) => Value::Text(text.into()),
    }
}

fn word(text: &str) -> Value {
    match text {
        "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => Value::Text(text.into()),
    }
}

fn number(text: &str) -> Value {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    if let Some(time) = timestamp::parse(text) {
        return Value::Time(time.into());
    }
    if text.trim_start_matches(['+', '-']).starts_with("._") {
        return Value::Text(text.into());
    }
    let plain = text.replace('_', "");
    if let Some(integer) = integer(&plain) {
        return integer;
    }
    match plain.parse::<f64>() {
        Ok(float) if is_float(&plain) && float.is_finite() => Value::Float(float),
        _ => Value::Text(text.into()),
    }
}

fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = radix_of(digits);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    if text == "-0" {
        return Some(Value::Float(-0.0));
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    let number = if negative { -magnitude } else { magnitude };
    if let Ok(number) = i64::try_from(number) {
        return Some(Value::Int(number));
    }
    // What has a sign is read as a signed integer only.
    let unsigned = u64::try_from(number).ok();
    unsigned.filter(|_| !text.starts_with('+')).map(Value::Big)
}

fn radix_of(digits: &str) -> (u32, &str) {
    let mut characters = digits.bytes();
    match (characters.next(), characters.next()) {
        (Some(b'0'), Some(b'x' | b'X')) => (16, &digits[2..]),
        (Some(b'0'), Some(b'o' | b'O')) => (8, &digits[2..]),
        (Some(b'0'), Some(b'b' | b'B')) => (2, &digits[2..]),
        (Some(b'0'), Some(_)) => (8, &digits[1..]),
        _ => (10, digits),
    }
}

/// Matches `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    mantissa_fits
        && exponent.is_none_or(|exponent| {
            let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !digits.is_empty() && all_digits(digits)
        })
}

/// Says whether a word is a boolean in YAML 1.1.
pub(super) fn is_old_boolean(text: &str) -> bool {
    const WORDS: [&str; 6] = ["y", "yes", "on", "n", "no", "off"];
    let Some(tail) = text.get(1..) else {
        return false;
    };
    let known = WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    let lower = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
    let upper = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase());
    known && (lower(tail) || upper(text))
}

/// Returns the number that a text to the base 60 is in YAML 1.1.
pub(super) fn base60(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let whole = digits.split_once('.').map_or(digits, |(whole, _)| whole);
    let number = whole.split(':').try_fold(0_i64, |sum, part| {
        let part: i64 = part.replace('_', "").parse().ok()?;
        sum.checked_mul(60)?.checked_add(part)
    })?;
    Some(if negative { -number } else { number })
}

/// Says whether a text is a number to the base 60 in YAML 1.1, such as `22:22`.
pub(super) fn is_base60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let mut count = 0;
    let minutes =
        |part: &str| part.len() <= 2 && part.parse::<u8>().is_ok_and(|number| number < 60);
    let all = parts.all(|part| {
        count += 1;
        minutes(part)
    });
    all && count > 0
        && first.starts_with(|next: char| next.is_ascii_digit())
        && first
            .bytes()
            .all(|next| next.is_ascii_digit() || next == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_docker_compose_does() {
        let text = |text: &str| Value::Text(text.into());
        for (written, want) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("true", Value::Bool(true)),
            ("2001-01-01", Value::Time("2001-01-01T00:00:00Z".into())),
            ("2001-13-01", text("2001-13-01")),
            ("yes", text("yes")),
            ("no", text("no")),
            ("22:22", text("22:22")),
            ("0777", Value::Int(0o777)),
            ("0o17", Value::Int(15)),
            ("0x1F", Value::Int(31)),
            ("1_000", Value::Int(1000)),
            ("0888", Value::Float(888.0)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("9223372036854775808", Value::Big(1 << 63)),
            ("0xFFFFFFFFFFFFFFFF", Value::Big(u64::MAX)),
            (
                "+18446744073709551615",
                Value::Float(1.844_674_407_370_955_2e19),
            ),
            (
                "18446744073709551616",
                Value::Float(1.844_674_407_370_955_2e19),
            ),
            ("0x10000000000000000", text("0x10000000000000000")),
            ("1e400", text("1e400")),
            ("._5", text("._5")),
            (".5_0", Value::Float(0.5)),
            ("1.5", Value::Float(1.5)),
            ("1e3", Value::Float(1000.0)),
            ("1.2.3", text("1.2.3")),
            ("-", text("-")),
            ("nginx", text("nginx")),
        ] {
            assert_eq!(resolve(written), want, "{written}");
        }
    }

    #[test]
    fn knows_what_older_readers_take_for_numbers() {
        assert!(is_base60("22:22"));
        assert!(!is_base60("1000:1000"));
        assert!(!is_base60("127.0.0.1:80"));
        assert_eq!(base60("22:22"), Some(1342));
        assert!(is_old_boolean("yes") && is_old_boolean("Off") && is_old_boolean("NO"));
        assert!(!is_old_boolean("yEs") && !is_old_boolean("never") && !is_old_boolean(""));
    }
}
