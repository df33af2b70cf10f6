//! The order of keys: as people count, `a2` before `a10`, and `_` before letters.

use std::cmp::Ordering;
use std::ops::Range;

/// Puts the entries of a mapping in order, whose keys stand at these places of the text and which reach to its end.
pub(super) fn sort(text: &mut String, keys: &[Range<usize>], depth: usize) {
    let key = |at: usize| text[keys[at].clone()].trim_matches(['"', '\'']);
    let ordered = |at: usize| compare(key(at - 1), key(at)) != Ordering::Greater;
    let Some(start) = keys.first().map(|first| first.start) else {
        return;
    };
    if (1..keys.len()).all(ordered) {
        return;
    }
    let order = merged((0..keys.len()).collect(), &|one, other| {
        compare(key(one), key(other)) != Ordering::Greater
    });
    let mut sorted = String::with_capacity(text.len() - start);
    for (count, at) in order.into_iter().enumerate() {
        if count > 0 {
            sorted.extend(std::iter::repeat_n(' ', depth));
        }
        let end = keys
            .get(at + 1)
            .map_or(text.len(), |next| next.start - depth);
        sorted.push_str(&text[keys[at].start..end]);
    }
    text.replace_range(start.., &sorted);
}

/// Sorts by merging: what docker compose compares by is no total order, which the standard library would not bear.
fn merged(mut items: Vec<usize>, in_order: &dyn Fn(usize, usize) -> bool) -> Vec<usize> {
    if items.len() < 2 {
        return items;
    }
    let right = merged(items.split_off(items.len() / 2), in_order);
    let left = merged(items, in_order);
    let mut sorted = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        let next = if in_order(*one, *other) {
            left.next()
        } else {
            right.next()
        };
        sorted.extend(next);
    }
    sorted.extend(left.chain(right));
    sorted
}

/// Compares keys as docker compose's YAML library does.
fn compare(one: &str, other: &str) -> Ordering {
    let common = one.bytes().zip(other.bytes());
    let mut at = common.take_while(|(one, other)| one == other).count();
    while !one.is_char_boundary(at) || !other.is_char_boundary(at) {
        at -= 1;
    }
    let (head, one) = one.split_at(at);
    let other = &other[at..];
    let (Some(a), Some(b)) = (one.chars().next(), other.chars().next()) else {
        return one.len().cmp(&other.len());
    };
    let after_digit = head.ends_with(char::is_numeric);
    match (a.is_alphabetic(), b.is_alphabetic()) {
        (true, true) => a.cmp(&b),
        (true, false) if after_digit => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) if after_digit => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let digits = head.rsplit(|next: char| !next.is_ascii_digit()).next();
            let counted = (a == '0' || b == '0')
                && digits.is_some_and(|digits| digits.contains(|next| next != '0'));
            let start = i64::from(counted);
            let (one, one_length) = number(one, start);
            let (other, other_length) = number(other, start);
            one.cmp(&other)
                .then(one_length.cmp(&other_length))
                .then(a.cmp(&b))
        }
    }
}

/// Reads the digits at the start of a text behind a first one, and counts them.
fn number(text: &str, start: i64) -> (i64, usize) {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold((start, 0), |(number, count), digit| {
        let number = number
            .wrapping_mul(10)
            .wrapping_add(i64::from(digit - b'0'));
        (number, count + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::compare;
    use std::cmp::Ordering;

    #[test]
    fn keys_are_ordered_as_docker_compose_orders_them() {
        let keys = [
            "1",
            "2",
            "10",
            "A",
            "EMAIL_USE_SSL",
            "EMAIL_USERNAME",
            "LOG_LEVEL",
            "SA_KILL",
            "SASL",
            "a",
            "a-b",
            "a_b",
            "a0",
            "a1",
            "a1b",
            "a2",
            "a10",
            "a10b",
            "ab",
            "service9",
            "service10",
        ];
        for pair in keys.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }
}
