//! YAML text to trees of [`Node`]s, one tree for each document.
//!
//! Reads parser events, because no YAML library keeps everything that a Compose file needs: places, `!reset` and
//! `!override`, merge keys, duplicate keys with both places, and bounds on aliases and depth.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as EventSpan, StrInput, Tag};

use super::{
    Code,
    indent::{self, Spaces},
    map::{Key, Twice},
    node::{Instruction, Map, Node, Span, Value},
    pieces,
    report::{Failure, Failures},
    scalar,
    schema::nearest,
};

/// Nodes that aliases may add to a file: this many, and [`ALIAS_RATIO`] times what the file itself holds.
const ALIAS_NODES: usize = 100_000;
/// See [`ALIAS_NODES`].
const ALIAS_RATIO: usize = 20;
/// Levels of nesting.
const MAX_DEPTH: usize = 200;

/// What is said at the last character of a text that is not whole.
const AT_END: &str = "the file ends here";
/// What is said where a line inside of brackets or quotes stands as far left as what they belong to.
const TOO_FAR_LEFT: &str = "this stands too far left";

/// What was read of a text.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// Its documents; where it is not YAML, those before that place.
    pub(super) documents: Vec<Node>,
    /// What is wrong with it: keys that are written twice or are not text, and at most one end of all reading.
    pub(super) failures: Failures,
    /// What is odd about it.
    pub(super) warnings: Vec<Failure>,
    /// Whether it was read to its end.
    pub(super) complete: bool,
}

/// Reads every document of a text.
///
/// # Errors
/// Fails where the text is not YAML, a key is written twice or is not text, or aliases expand beyond all measure.
pub(super) fn parse(text: &str, source: u32) -> Result<Vec<Node>, Failures> {
    let parsed = read(text, source);
    parsed.failures.into_result().map(|()| parsed.documents)
}

/// Reads as much of a text as can be read.
pub(super) fn read(text: &str, source: u32) -> Parsed {
    if let Some(document) = pieces::parse(text, source) {
        return Parsed {
            documents: vec![document],
            failures: Failures::default(),
            warnings: Vec::new(),
            complete: true,
        };
    }
    let parsed = read_whole(Reader::new(text, 0, source));
    let mistaken = |parsed: &Parsed| {
        let last = parsed.failures.0.last().filter(|_| !parsed.complete)?;
        let place = last
            .main_place()
            .filter(|_| last.code() == Code::YamlSyntax)?;
        Some(place.start)
    };
    let Some(stopped) = mistaken(&parsed) else {
        return parsed;
    };
    let moved = indent::indent(text).map(|moved| {
        let bytes = ByteIndex::moved(&moved.text, text, moved.spaces.clone());
        read_whole(Reader {
            bytes,
            ..Reader::new(&moved.text, 0, source)
        })
    });
    // Where it still is no YAML, but further on, that is the mistake.
    let better = |moved: &Parsed| mistaken(moved).is_none_or(|at| at > stopped);
    moved.filter(better).unwrap_or(parsed)
}

fn read_whole(mut reader: Reader<'_>) -> Parsed {
    let mut documents = Vec::new();
    let ended = reader.documents(&mut documents, 0);
    let complete = ended.is_ok();
    let mut failures = reader.failures;
    failures.0.extend(ended.err());
    Parsed {
        documents,
        failures,
        warnings: reader.warnings,
        complete,
    }
}

/// Reads a piece of a text that stands for itself and lies so many levels deep; `None` where it does not.
pub(super) fn read_piece(
    text: &str,
    piece: Range<usize>,
    source: u32,
    depth: usize,
) -> Option<Node> {
    let start = piece.start;
    let mut reader = Reader::new(text.get(piece)?, start, source);
    let mut documents = Vec::new();
    reader.documents(&mut documents, depth).ok()?;
    let document = documents.pop()?;
    let told = !reader.failures.0.is_empty() || !reader.warnings.is_empty();
    let whole = documents.is_empty() && reader.alias_nodes == 0 && !told;
    whole.then_some(document)
}

struct Reader<'input> {
    events: Parser<'input, StrInput<'input>>,
    bytes: ByteIndex<'input>,
    source: u32,
    /// Finished anchors, with the number of their nodes.
    anchors: HashMap<usize, (Node, usize)>,
    /// The pairs of the mappings that are being read, innermost last: a finished mapping takes what it needs at once.
    open_pairs: Vec<(Key, Node)>,
    /// The elements of the sequences that are being read.
    open_elements: Vec<Node>,
    own_nodes: usize,
    alias_nodes: usize,
    /// Mistakes that do not keep the rest from being read.
    failures: Failures,
    warnings: Vec<Failure>,
}

type Step<'input> = (Event<'input>, EventSpan);

impl<'input> Reader<'input> {
    fn new(text: &'input str, start: usize, source: u32) -> Self {
        Self {
            events: Parser::new_from_str(text),
            bytes: ByteIndex::new(text, start),
            source,
            anchors: HashMap::new(),
            open_pairs: Vec::new(),
            open_elements: Vec::new(),
            own_nodes: 0,
            alias_nodes: 0,
            failures: Failures::default(),
            warnings: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<Step<'input>, Failure> {
        match self.events.next_event() {
            Some(Ok(step)) => Ok(step),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, EventSpan::default())),
        }
    }

    fn documents(&mut self, documents: &mut Vec<Node>, depth: usize) -> Result<(), Failure> {
        loop {
            match self.next()? {
                (Event::DocumentStart(_), _) => {
                    let first = self.next()?;
                    documents.push(self.node(first, depth)?.0);
                }
                (Event::StreamEnd, _) => return Ok(()),
                _ => {}
            }
        }
    }

    fn syntax(&self, error: &ScanError) -> Failure {
        let start = self.bytes.of(error.marker().index());
        let rest = self.bytes.text_from(start);
        let (span, label) = if rest.trim().is_empty() {
            (self.last_character(start), AT_END)
        } else {
            let next = rest.chars().next();
            let length = next.filter(|next| *next != '\n').map_or(0, char::len_utf8);
            let info = error.info();
            let left = info == "invalid indentation" || info.ends_with("in flow construct");
            let label = if left { TOO_FAR_LEFT } else { "here" };
            (self.place(start, length), label)
        };
        let message = format!("not valid YAML: {}", error.info());
        Failure::new(Code::YamlSyntax, message)
            .at(span, label)
            .hint_if(syntax_hint(error.info()).map(str::to_owned))
    }

    fn place(&self, start: u32, length: usize) -> Span {
        Span {
            source: self.source,
            start,
            end: start + u32::try_from(length).unwrap_or(0),
        }
    }

    /// Returns the place of the last character before another place that can be seen.
    fn last_character(&self, end: u32) -> Span {
        let before = (end as usize).saturating_sub(self.bytes.start);
        let before = self.bytes.written.get(..before).unwrap_or_default();
        let seen = before.trim_end();
        let length = seen.chars().next_back().map_or(0, char::len_utf8);
        let start = self.bytes.start + seen.len() - length;
        self.place(u32::try_from(start).unwrap_or(u32::MAX), length)
    }

    /// Reads the next step inside of a collection; where it fails in one with brackets, says where that was opened.
    fn next_in(&mut self, place: Span) -> Result<Step<'input>, Failure> {
        self.next().map_err(|failure| self.opened(failure, place))
    }

    fn opened(&self, failure: Failure, place: Span) -> Failure {
        let first = self.bytes.text_from(place.start).bytes().next();
        if failure.code() != Code::YamlSyntax
            || failure.count_places() > 1
            || !matches!(first, Some(b'[' | b'{'))
        {
            return failure;
        }
        let bracket = self.place(place.start, 1);
        // At the end of the file nothing is wrong, nor in a line that a bracket has swallowed.
        let told = matches!(failure.main_label(), Some(AT_END | TOO_FAR_LEFT));
        if told
            || failure
                .main_place()
                .is_some_and(|key| self.swallowed(bracket, key))
        {
            return failure
                .first_at(bracket, "opened here, and not closed")
                .or_hint("close the bracket before the next key");
        }
        failure.at(bracket, "opened here")
    }

    /// Says whether the line of a place begins with a key that stands as far left as the line of a bracket before it.
    fn swallowed(&self, bracket: Span, place: Span) -> bool {
        let line = |at: u32| {
            let at = (at as usize).saturating_sub(self.bytes.start);
            let before = self.bytes.written.get(..at).unwrap_or_default();
            let start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let line = self.bytes.written.get(start..).unwrap_or_default();
            let line = line.lines().next().unwrap_or_default();
            (start, line.len() - line.trim_start().len(), line.trim())
        };
        let ((opened, least, _), (wrong, column, text)) = (line(bracket.start), line(place.start));
        let word = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        wrong > opened && column <= least && word && text.contains(':')
    }

    fn span(&self, span: EventSpan) -> Span {
        let start = self.bytes.of(span.start.index());
        Span {
            source: self.source,
            start,
            end: self.bytes.of(span.end.index()).max(start),
        }
    }

    /// Reads one node from its first event; returns it with the number of nodes in it.
    fn node(
        &mut self,
        (event, span): Step<'input>,
        depth: usize,
    ) -> Result<(Node, usize), Failure> {
        let place = self.span(span);
        if depth > MAX_DEPTH {
            return Err(Failure::new(
                Code::Limit,
                format!("nested more than {MAX_DEPTH} levels deep"),
            )
            .at(place, ""));
        }
        self.own_nodes += 1;
        let (mut read, anchor, tag) = match event {
            Event::Alias(anchor) => return self.alias(anchor, place),
            Event::Scalar(text, style, anchor, tag) => {
                let text = self.as_it_ends(text, style, span);
                let value = scalar_value(text, style, tag.as_deref())
                    .map_err(|problem| Failure::new(Code::WrongType, problem).at(place, ""))?;
                ((Node::new(value, place), 1), anchor, tag)
            }
            Event::SequenceStart(anchor, tag) => (self.sequence(place, depth)?, anchor, tag),
            Event::MappingStart(anchor, tag) => (self.mapping(place, depth)?, anchor, tag),
            _ => ((Node::new(Value::Null, place), 1), 0, None),
        };
        read.0.instruction = tag.as_deref().and_then(instruction);
        if let Some(tag) = tag.as_deref()
            && let Some(word) = unknown_tag(tag)
        {
            self.warnings.push(
                Failure::new(
                    Code::Ignored,
                    format!("the tag `!{word}` means nothing in a Compose file and is ignored"),
                )
                .at(place, "")
                .hint_if(nearest(word, ["reset", "override"].into_iter())),
            );
        }
        if anchor > 0 {
            self.anchors.insert(anchor, read.clone());
        }
        Ok(read)
    }

    /// Takes the line break away that the parser adds to a text of `|` or `>` where the file ends without one.
    fn as_it_ends<'t>(
        &self,
        text: Cow<'t, str>,
        style: ScalarStyle,
        span: EventSpan,
    ) -> Cow<'t, str> {
        let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        // A last line of a few blanks is none to the parser.
        let added = block && text.ends_with('\n') && span.end.col() >= span.start.col().max(1);
        let rest = || self.bytes.text_from(self.bytes.of(span.end.index()));
        if !added || self.bytes.written.ends_with(['\n', '\r']) || !rest().is_empty() {
            return text;
        }
        let mut text = text.into_owned();
        text.pop();
        text.into()
    }

    fn alias(&mut self, anchor: usize, place: Span) -> Result<(Node, usize), Failure> {
        let Some((node, count)) = self.anchors.get(&anchor) else {
            return Err(
                Failure::new(Code::Limit, "an anchor contains itself").at(place, "this alias")
            );
        };
        self.alias_nodes += count;
        if self.alias_nodes > ALIAS_NODES + ALIAS_RATIO * self.own_nodes {
            return Err(Failure::new(Code::Limit, "aliases expand to too many values")
                .at(place, "this alias goes beyond the limit")
                .hint(format!(
                    "a file may hold {ALIAS_NODES} values through aliases, and {ALIAS_RATIO} for each of its own"
                )));
        }
        let mut node = node.clone();
        node.key = place;
        Ok((node, *count))
    }

    fn sequence(&mut self, place: Span, depth: usize) -> Result<(Node, usize), Failure> {
        let first = self.open_elements.len();
        let mut count = 1;
        loop {
            let step = self.next_in(place)?;
            if matches!(step.0, Event::SequenceEnd | Event::StreamEnd) {
                let end = self.span(step.1).end.max(place.end);
                let span = Span { end, ..place };
                let list = self.open_elements.drain(first..).collect();
                return Ok((Node::new(Value::List(list), span), count));
            }
            let (node, nodes) = self.node(step, depth + 1)?;
            count += nodes;
            self.open_elements.push(node);
        }
    }

    fn mapping(&mut self, place: Span, depth: usize) -> Result<(Node, usize), Failure> {
        let first = self.open_pairs.len();
        let mut merged = Vec::new();
        let mut count = 1;
        loop {
            let step = self.next_in(place)?;
            if matches!(step.0, Event::MappingEnd | Event::StreamEnd) {
                let end = self.span(step.1).end.max(place.end);
                let pairs = self.open_pairs.drain(first..).collect();
                let (mut map, twice) = Map::from_pairs(pairs);
                self.failures.0.extend(twice.iter().map(written_twice));
                if let Err(failure) = apply_merge_keys(&mut map, merged) {
                    self.failures.0.push(failure);
                }
                let span = Span { end, ..place };
                return Ok((Node::new(Value::Map(map), span), count));
            }
            let merge = is_merge_key(&step.0);
            let (key, key_place) = self.key(step, depth)?;
            let value_step = self.next_in(place)?;
            let (value, nodes) = self.node(value_step, depth + 1)?;
            count += nodes + 1;
            let value = value.keyed(key_place);
            if merge {
                merged.push(value);
            } else if let Some(key) = key {
                self.open_pairs.push((key, value));
            }
        }
    }

    /// Reads a key; one that is not text is told, and left out with its value.
    fn key(&mut self, step: Step<'input>, depth: usize) -> Result<(Option<Key>, Span), Failure> {
        let (node, _) = self.node(step, depth + 1)?;
        let place = if node.key == node.span {
            node.span
        } else {
            node.key
        };
        match node.value {
            Value::Text(key) => Ok((Some(key), place)),
            other => {
                let kind = Node::new(other, place).kind();
                self.failures.0.push(
                    Failure::new(
                        Code::WrongKey,
                        format!("a key must be a string, this one is a {kind}"),
                    )
                    .at(place, "")
                    .hint("put it in quotes"),
                );
                Ok((None, place))
            }
        }
    }
}

fn written_twice(twice: &Twice) -> Failure {
    let message = format!("`{}` is written twice", twice.key);
    Failure::new(Code::DuplicateKey, message)
        .at(twice.second, "the second time")
        .at(twice.first, "the first time")
        .hint("keep one of them")
}

fn is_merge_key(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

fn scalar_value(
    text: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<Value, String> {
    let core = tag.filter(|tag| tag.is_yaml_core_schema());
    match (core.map(|tag| tag.suffix.as_str()), tag) {
        (Some("str" | "binary"), _) | (None, Some(_)) => Ok(Value::Text(text.into())),
        (Some(wanted @ ("int" | "bool" | "null" | "float" | "timestamp")), _) => {
            typed(&text, wanted)
        }
        _ if style == ScalarStyle::Plain => match scalar::resolve(&text) {
            // docker compose checks the files as JSON, which has no such numbers.
            Value::Float(number) if !number.is_finite() => Err(format!(
                "`{text}` is a number that a Compose file cannot hold"
            )),
            value => Ok(value),
        },
        _ => Ok(Value::Text(text.into())),
    }
}

/// Reads a scalar with a tag such as `!!int`.
fn typed(text: &str, wanted: &str) -> Result<Value, String> {
    match (scalar::resolve(text), wanted) {
        #[expect(clippy::cast_precision_loss, reason = "the author asks for a float")]
        (Value::Int(number), "float") => Ok(Value::Float(number as f64)),
        (value @ Value::Int(_), "int")
        | (value @ Value::Bool(_), "bool")
        | (value @ Value::Null, "null")
        | (value @ Value::Float(_), "float")
        | (value @ Value::Time(_), "timestamp") => Ok(value),
        _ => Err(format!("`{text}` is not a value for `!!{wanted}`")),
    }
}

/// Returns the word of a tag that neither YAML nor the Compose specification knows.
fn unknown_tag(tag: &Tag) -> Option<&str> {
    let word = match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("!", word) => word,
        ("", word) => word.strip_prefix('!')?,
        _ => return None,
    };
    (!word.is_empty() && instruction(tag).is_none()).then_some(word)
}

/// Says what usually leads to an error of the YAML parser.
fn syntax_hint(info: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 9] = [
        ("tabs disallowed", "indent with blanks, not with tabs"),
        (
            "mapping values are not allowed",
            "put a text that holds `: ` in quotes, and start the keys of one mapping in one column",
        ),
        (
            "did not find expected key",
            "start the keys of one mapping, or the dashes of one list, in one column",
        ),
        ("quoted scalar", "close the quote"),
        (
            "invalid indentation",
            "close the bracket or the quote, or indent what is in it",
        ),
        (
            "unexpected character",
            "put a text that starts with this character in quotes",
        ),
        (
            "unknown anchor",
            "an alias such as `*name` needs an anchor `&name` before it",
        ),
        (
            "flow sequence",
            "close the bracket, and separate elements with commas",
        ),
        (
            "flow mapping",
            "close the brace, and separate pairs with commas",
        ),
    ];
    let found = HINTS.iter().find(|(part, _)| info.contains(part));
    found.map(|(_, hint)| *hint)
}

fn instruction(tag: &Tag) -> Option<Instruction> {
    match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("!", "reset") | ("", "!reset") => Some(Instruction::Reset),
        ("!", "override") | ("", "!override") => Some(Instruction::Override),
        _ => None,
    }
}

/// Adds what `<<` brings: own keys win, and of several mappings the first.
fn apply_merge_keys(map: &mut Map, merged: Vec<Node>) -> Result<(), Failure> {
    for node in merged {
        let (span, key) = (node.span, node.key);
        match node.value {
            Value::Map(base) => merge_base(map, base),
            Value::List(list) => {
                for element in list {
                    match element.value {
                        Value::Map(base) => merge_base(map, uninstructed(base)),
                        _ => return Err(wrong_merge(element.span, element.key)),
                    }
                }
            }
            _ => return Err(wrong_merge(span, key)),
        }
    }
    Ok(())
}

fn wrong_merge(span: Span, key: Span) -> Failure {
    Failure::new(
        Code::WrongKey,
        "`<<` takes a mapping, or a list of mappings",
    )
    .at(key, "")
    .at(span, "this is something else")
}

/// A mapping of a list behind `<<`: docker compose hears no instruction in it, and what `!reset` stands at is not there.
fn uninstructed(mut map: Map) -> Map {
    map.retain(|_, child| child.instruction.take() != Some(Instruction::Reset));
    for (_, child) in map.iter_mut() {
        if let Value::Map(inner) = &mut child.value {
            *inner = uninstructed(std::mem::take(inner));
        }
    }
    map
}

fn merge_base(map: &mut Map, base: Map) {
    for (key, node) in base {
        let Some(own) = map.get_mut(&key) else {
            map.insert(key, node);
            continue;
        };
        match (own.instruction, node.instruction) {
            // `!reset` beside a merged key clears what earlier files say and lets the merged value through.
            (Some(Instruction::Reset), None | Some(Instruction::Override)) => {
                *own = node;
                own.instruction = Some(Instruction::Override);
            }
            (None, Some(_)) => own.instruction = Some(Instruction::Override),
            _ => {}
        }
    }
}

/// Character positions to byte positions.
struct ByteIndex<'input> {
    text: &'input str,
    /// The text as it is in the file.
    written: &'input str,
    /// Where the text begins in its source.
    start: usize,
    /// Spaces that are not in the file.
    spaces: Vec<Spaces>,
    /// For each character beyond ASCII: its position, and the bytes that it and those before it add.
    wide: Vec<(usize, usize)>,
}

impl<'input> ByteIndex<'input> {
    fn new(text: &'input str, start: usize) -> Self {
        let mut wide = Vec::new();
        if !text.is_ascii() {
            let mut extra = 0;
            for (position, character) in text.chars().enumerate() {
                if character.len_utf8() > 1 {
                    extra += character.len_utf8() - 1;
                    wide.push((position, extra));
                }
            }
        }
        Self {
            text,
            written: text,
            start,
            spaces: Vec::new(),
            wide,
        }
    }

    /// Of a text whose lines were moved.
    fn moved(text: &'input str, written: &'input str, spaces: Vec<Spaces>) -> Self {
        Self {
            written,
            spaces,
            ..Self::new(text, 0)
        }
    }

    /// Returns the text from a place of the source on.
    fn text_from(&self, place: u32) -> &'input str {
        let at = (place as usize).checked_sub(self.start);
        at.and_then(|at| self.written.get(at..)).unwrap_or_default()
    }

    fn of(&self, character: usize) -> u32 {
        let before = self
            .wide
            .partition_point(|(position, _)| *position < character);
        let extra = before.checked_sub(1).map_or(0, |last| self.wide[last].1);
        // The parser miscounts behind an unknown directive: a place is kept inside of the text, between characters.
        let byte = self.text.floor_char_boundary(character + extra);
        let byte = indent::original(&self.spaces, byte);
        u32::try_from(self.start + byte).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Node, Failures> {
        Ok(parse(text, 0)?.remove(0))
    }

    #[test]
    fn a_bracket_may_close_as_far_left_as_its_key() {
        for text in [
            "a:\n  b: [\n    \"c\",\n  ]\n  d: 'é'\n",
            "a:\n  b: [\n  \"c\", # [\n]\n  d: 'é'\n",
            "a:\n  b: [\n c\n ]\n  d: \"é\"\n",
            "a:\n  b: {\n  }\n  d: \"é\"\n",
            "a:\n  b: \"c\n  e\"\n  d: 'é'\n",
        ] {
            let read = one(text).ok();
            let d = read.as_ref().and_then(|node| node.find("a")?.find("d"));
            let place = d.map(|node| node.span.start as usize..node.span.end as usize);
            let written = place.and_then(|place| text.get(place)).unwrap_or_default();
            assert_eq!(written.trim_matches(['\'', '"']), "é", "{text}");
        }
        assert!(one("a:\n  b: [\n  \"c\"\n").is_err());
    }

    #[test]
    fn a_block_text_ends_where_the_file_does() {
        for (text, wanted) in [
            ("a: |\n  b\n  c", "b\nc"),
            ("a: |\n  b\n  c\n", "b\nc\n"),
            ("a: >\n  b\n  c", "b c"),
            ("a: |+\n  b", "b"),
            ("a: |-\n  b", "b"),
            ("a: |\n  b\n  ", "b\n"),
            ("a: |\n  b\n ", "b\n"),
            ("a: |+\n  b\n\n  ", "b\n\n"),
        ] {
            let read = one(text).ok();
            let value = read.as_ref().and_then(|node| node.find("a")?.as_text());
            assert_eq!(value, Some(wanted), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_closed_is_named_by_its_bracket() {
        for text in [
            "a: [b\n",
            "a: {b: c\n\n\n",
            "x:\n  a: [80\n  b:\n    c: d\n",
            "a: [b, [c]\n",
        ] {
            let bracket = text.find(['[', '{']).unwrap_or_default();
            let places = one(text).err().map(|failures| failures.places());
            let first = places.and_then(|places| places.first().copied());
            assert_eq!(
                first.map(|place| place.start as usize),
                Some(bracket),
                "{text}"
            );
        }
        // Whatever ends too early is marked where it ends.
        let places = one("a: !x").err().map(|failures| failures.places());
        assert!(places.is_none_or(|places| !places.is_empty()));
    }

    #[test]
    fn keeps_places_in_bytes() -> Result<(), Failures> {
        let text = "ä: ö\nb: [x, \"yy\"]\n";
        let tree = one(text)?;
        let list = tree.find("b").and_then(Node::as_list).unwrap_or_default();
        let shown = |span: Span| &text[span.start as usize..span.end as usize];
        assert_eq!(shown(list[1].span), "\"yy\"");
        assert_eq!(tree.find("b").map(|node| shown(node.key)), Some("b"));
        Ok(())
    }

    #[test]
    fn keeps_places_inside_of_the_text() {
        for text in ["%eh  \u{e9}\n--- ", "%\u{e9}', B: \"$a}&\u{62f}?baextengne"] {
            let spans: Vec<Span> = match parse(text, 0) {
                Ok(documents) => documents.iter().map(|node| node.span).collect(),
                Err(failures) => failures.places(),
            };
            for span in spans {
                assert!(text.get(span.start as usize..span.end as usize).is_some());
            }
        }
    }

    #[test]
    fn applies_merge_keys() -> Result<(), Failures> {
        let tree = one("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 9\n")?;
        let merged = tree.find("c");
        let value = |key| {
            merged
                .and_then(|node| node.find(key))
                .map(|node| node.value.clone())
        };
        assert_eq!(value("x"), Some(Value::Int(9)));
        assert_eq!(value("y"), Some(Value::Int(2)));
        assert_eq!(value("z"), Some(Value::Int(4)));
        Ok(())
    }

    #[test]
    fn refuses_duplicate_keys_and_alias_bombs() {
        assert!(one("a: 1\na: 2\n").is_err());
        assert!(one("a: &a [*a]\n").is_err());
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let alias = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", "));
        }
        assert!(one(&bomb).is_err());
    }
}
