//! A large file is parsed in pieces at once, one for each processor.
//!
//! Called by `document`. The text is cut before services, where the text itself shows that one ends and another begins.
//! A cut that is none (inside of a quoted text that goes over lines, say) leaves a piece that is not whole, and an alias
//! may need what another piece holds: then the file is parsed once more as a whole, as it is where anything is wrong
//! with it, so that every error is told from the whole. So pieces only ever change how long it takes.

use std::{ops::Range, thread};

use super::{
    document,
    map::Map,
    node::{Node, Value},
};

/// Bytes that are worth a thread.
const WORTHWHILE: usize = 64 << 10;
/// More threads than this are hardly ever there.
const MOST: usize = 4;

/// Where a text is cut.
#[derive(Debug, PartialEq, Eq)]
struct Cuts {
    /// From the start to the first cut between services.
    head: Range<usize>,
    /// Services.
    middle: Vec<Range<usize>>,
    /// What stands behind the services.
    tail: Range<usize>,
}

/// Parses a text in pieces; `None` where it has to be parsed as a whole.
pub(super) fn parse(text: &str, source: u32) -> Option<Node> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let count = threads.min(MOST).min(text.len() / WORTHWHILE);
    // Aliases mostly stand for what another piece holds.
    let aliases = [": *", "- *", "<<:"];
    if count < 2 || aliases.iter().any(|alias| text.contains(alias)) {
        return None;
    }
    parse_in(text, source, count)
}

/// Parses a text in this many pieces.
pub(super) fn parse_in(text: &str, source: u32, count: usize) -> Option<Node> {
    // A text over lines ends otherwise at the end of a piece than before the next service; anchors and tabs let a line
    // that stands further left belong to what stands before.
    if text.contains(['|', '>', '&', '\t']) {
        return None;
    }
    let cuts = cut(text, count)?;
    thread::scope(|scope| {
        let others: Vec<_> = cuts
            .middle
            .iter()
            .map(|piece| scope.spawn(|| document::read_piece(text, piece.clone(), source, 1)))
            .collect();
        let mut whole = document::read_piece(text, cuts.head, source, 0)?;
        let tail = if cuts.tail.is_empty() {
            None
        } else {
            Some(document::read_piece(text, cuts.tail, source, 0)?)
        };
        for other in others {
            let piece = other.join().ok().flatten()?;
            let services = services_of(&mut whole)?;
            services.span.end = piece.span.end;
            add(services, piece)?;
        }
        whole.span.end = services_of(&mut whole)?.span.end;
        if let Some(tail) = tail {
            whole.span.end = tail.span.end;
            add(&mut whole, tail)?;
        }
        whole.key = whole.span;
        Some(whole)
    })
}

/// Returns the services, which the head must end with.
fn services_of(whole: &mut Node) -> Option<&mut Node> {
    let (key, services) = whole.as_map_mut()?.iter_mut().next_back()?;
    (key == "services" && services.instruction.is_none()).then_some(services)
}

/// Adds the pairs of one mapping to another; `None` where a key would be there twice.
fn add(node: &mut Node, piece: Node) -> Option<()> {
    if piece.instruction.is_some() {
        return None;
    }
    let (map, more) = (node.as_map_mut()?, piece.into_map()?);
    let pairs = std::mem::take(map).into_iter().chain(more).collect();
    let (map, twice) = Map::from_pairs(pairs);
    node.value = Value::Map(map);
    twice.is_empty().then_some(())
}

/// Finds places between services, about evenly apart.
fn cut(text: &str, count: usize) -> Option<Cuts> {
    let start = services_line(text)?;
    let (first, _) = lines_from(text, start).find(|(_, line)| !is_nothing(line))?;
    let indent = text[first..]
        .bytes()
        .take_while(|next| *next == b' ')
        .count();
    if indent == 0 || !is_key(&text[first + indent..]) {
        return None;
    }
    let mut cuts = Vec::with_capacity(count);
    let mut end = text.len();
    let mut deeper = false;
    for (at, line) in lines_from(text, first) {
        if is_nothing(line) {
            continue;
        }
        if !line.starts_with(' ') {
            end = at;
            break;
        }
        let wanted = text.len() / count * (cuts.len() + 1);
        let here = line.bytes().take_while(|next| *next == b' ').count() == indent;
        if here && deeper && at >= wanted && cuts.len() + 1 < count && is_key(&line[indent..]) {
            cuts.push(at);
        }
        deeper = !here;
    }
    let first = *cuts.first()?;
    cuts.push(end);
    // A piece ends behind the indentation of the next, so that its last value ends where it does in the whole.
    let middle = cuts.windows(2).map(|pair| match pair {
        [from, to] if *to == end => *from..end,
        [from, to] => *from..*to + indent,
        _ => 0..0,
    });
    let middle = middle.collect();
    (end == text.len() || is_key(&text[end..])).then_some(Cuts {
        head: 0..first + indent,
        middle,
        tail: end..text.len(),
    })
}

/// Returns the start of the line after `services:`.
fn services_line(text: &str) -> Option<usize> {
    let key = "services:";
    let at = if text.starts_with(key) {
        0
    } else {
        text.find("\nservices:")? + 1
    };
    let line = text[at..].lines().next()?;
    let bare = line[key.len()..].trim_start();
    (bare.is_empty() || bare.starts_with('#')).then(|| (at + line.len() + 1).min(text.len()))
}

fn lines_from(text: &str, start: usize) -> impl Iterator<Item = (usize, &str)> {
    let mut at = start;
    text[start..].split_inclusive('\n').map(move |line| {
        let here = at;
        at += line.len();
        (here, line)
    })
}

/// Says whether a line is blank or a comment.
fn is_nothing(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// Says whether a line starts with a plain key.
fn is_key(line: &str) -> bool {
    let name = |next: &u8| next.is_ascii_alphanumeric() || matches!(next, b'_' | b'-' | b'.');
    let length = line.bytes().take_while(|next| name(next)).count();
    let first = line.bytes().next();
    first.is_some_and(|first| first.is_ascii_alphanumeric())
        && line[length..].starts_with(':')
        && line[length + 1..].starts_with([' ', '\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Option<Node> {
        document::read_piece(text, 0..text.len(), 0, 0)
    }

    const PLAIN: &str = "# a comment\nname: x\nservices:   # all of them\n\n  a:\n    image: \u{e4}\n    command: [x,\n      \
        y,\n\n      z]\n  b:\n    # why\n    image: b\n  c: {image: c}\n\n  # of d\n  d:\n    ports:\n    - 80\n  e:\n    \
        image: e\n# the end\nnetworks: {n: {}}\n";

    #[test]
    fn the_pieces_come_to_what_the_whole_does() {
        for text in [
            PLAIN,
            PLAIN.trim_end_matches("networks: {n: {}}\n"),
            &PLAIN.replace('\n', "\r\n"),
            &format!("---\n{PLAIN}"),
            &PLAIN.replace("  d:", "  d: !override"),
        ] {
            for count in 2..4 {
                let pieces = parse_in(text, 0, count);
                assert!(pieces.is_some(), "{text}");
                assert_eq!(pieces, whole(text), "{text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_cut_is_left_whole() {
        let quoted = "services:\n  a:\n    image: \"x\n  b:\n    y\n  c:\n    z\"\n  d: {}\n";
        for text in [
            quoted,
            "services:\n  a:\n    image: [x,\n  b:\n    y]\n  c: {}\n",
            "services: &s\n  a:\n    image: x\n  b:\n    image: x\n",
            "services:\n  a: &x\n    image: x\n  b: *x\n  c: *x\n",
            "services:\n  a:\n    image: x\n  b:\n    image: x\n  a:\n    image: y\n",
            "services:\n  a:\n    image: x\n  b:\n    image: x\n---\nservices: {}\n",
            "services:\n  a:\n    image: x\n  b:\n    image: x\nservices: {}\n",
            "services:\n  a:\n    image: x\n  b:\n    image: x\n y: z\n",
            "services:\n  a:\n    image: x\n  b:\n    image: {\n",
            "services:\n",
            "services:\n  a:\n    image: x\n  b:\n    image: x\nnetworks: [\n",
            "services:\n  a:\n    image: x\n  b:\n    image: x\nnetworks:\n  c: {}\n }\n",
            "services:\n  a:\n    command: |\n      x\n\n  b:\n    image: x\n",
            "services:\n  a:\n    image: x\n  b:\n    image: x\n&a\n  c: {}\n",
            "services:\n  a:\n    image: x\n  b:\n    image: x\n\t  c: {}\n",
            "services: {a: {image: x}}\n",
            "networks: {}\n",
            "",
        ] {
            assert_eq!(parse_in(text, 0, 2), None, "{text}");
        }
    }
}
