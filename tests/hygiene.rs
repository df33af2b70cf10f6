//! House rules that can be counted: size budget, no forgotten test file, examples that load.

use std::{fs, io, path::Path, process::Command};

use crate::layering::sources;

/// Hard stop for a file without its tests.
const MAX_LINES: usize = 800;

/// Lines of a source before its inline tests.
fn product_lines(text: &str) -> usize {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .count()
}

/// Modules over the hard stop.
fn oversized<'a>(sources: impl Iterator<Item = (&'a String, &'a String)>) -> Vec<String> {
    sources
        .filter(|(module, _)| !module.ends_with("/tests"))
        .filter(|(_, text)| product_lines(text) > MAX_LINES)
        .map(|(module, text)| format!("{module}: {} lines", product_lines(text)))
        .collect()
}

#[test]
fn files_stay_below_the_hard_stop() -> io::Result<()> {
    let found = oversized(sources()?.iter());
    assert!(found.is_empty(), "over {MAX_LINES} lines: {found:#?}");
    Ok(())
}

#[test]
fn a_planted_long_file_is_found() {
    let (module, text) = ("plan/long".to_owned(), "//\n".repeat(MAX_LINES + 1));
    assert_eq!(
        oversized([(&module, &text)].into_iter()),
        ["plan/long: 801 lines"]
    );
}

#[test]
fn every_module_opens_with_its_purpose() -> io::Result<()> {
    let silent: Vec<_> = sources()?
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(m, _)| m)
        .collect();
    assert!(silent.is_empty(), "without a module doc: {silent:#?}");
    Ok(())
}

#[test]
fn no_module_has_a_name_that_says_nothing() -> io::Result<()> {
    const NOTHING: [&str; 7] = [
        "utils", "helpers", "common", "misc", "manager", "handler", "data",
    ];
    let vague: Vec<_> = sources()?
        .into_keys()
        .filter(|module| module.split('/').any(|part| NOTHING.contains(&part)))
        .collect();
    assert!(vague.is_empty(), "{vague:#?}");
    Ok(())
}

/// Files below `dir` that no `mod` line of its parent names.
fn forgotten(dir: &Path, parent: &Path, found: &mut Vec<String>) -> io::Result<()> {
    let declared = fs::read_to_string(parent)?;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let is_module = path.join("mod.rs").exists()
            || path.extension().is_some_and(|extension| extension == "rs");
        if !is_module || name == "mod" || path == parent {
            continue;
        }
        if !declared
            .lines()
            .any(|line| line.trim_end().ends_with(&format!("mod {name};")))
        {
            found.push(path.display().to_string());
        }
        if path.is_dir() {
            forgotten(&path, &path.join("mod.rs"), found)?;
        }
    }
    Ok(())
}

#[test]
fn no_test_file_is_forgotten() -> io::Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut found = Vec::new();
    forgotten(&tests, &tests.join("main.rs"), &mut found)?;
    assert!(found.is_empty(), "not part of the test binary: {found:#?}");
    Ok(())
}

#[test]
fn every_example_loads() -> io::Result<()> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in fs::read_dir(examples)? {
        let file = entry?.path().join("compose.yaml");
        if !file.exists() {
            continue;
        }
        let output = Command::new(env!("CARGO_BIN_EXE_hoist"))
            .args([
                "-f".as_ref(),
                file.as_os_str(),
                "config".as_ref(),
                "-q".as_ref(),
            ])
            .env("SECRET_KEY", "for-the-example")
            .output()?;
        assert!(
            output.status.success(),
            "{}: {}",
            file.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        count += 1;
    }
    assert!(count > 0, "there are no examples");
    Ok(())
}
