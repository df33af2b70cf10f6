//! Entrances for the fuzz targets (`fuzz/`). They exist only in builds of the fuzzer.

use super::ignore::Ignore;
use super::parse;

/// Reads a Dockerfile; every instruction stands on lines that the text has.
pub fn dockerfile(text: &str) {
    let Ok(file) = parse::parse(text) else { return };
    let lines = text.lines().count();
    for instruction in &file.instructions {
        assert!(instruction.line >= 1 && instruction.line <= instruction.last_line);
        assert!(instruction.last_line <= lines, "{instruction:?}");
        let _ = parse::parse_line(&instruction.rest, instruction.line, file.escape);
    }
}

/// Reads the first line as a path, and the others as `.dockerignore`: a walk and a single question agree.
pub fn ignore(text: &str) {
    let (path, rules) = text.split_once('\n').unwrap_or((text, ""));
    let ignore = Ignore::parse(rules);
    let mut ruling = super::ignore::Ruling::default();
    for end in path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()])
    {
        if end > 0 {
            ruling = ignore.ruling(&path[..end], ruling);
        }
    }
    assert_eq!(ignore.is_left_out(ruling), ignore.leaves_out(path));
    let _: bool = ignore.may_take_below(path);
}
