//! Plain scalars that are not what they look like are told; quoted ones never are.

use super::load_text;

/// The line, column and message of each warning.
fn warnings(attributes: &str) -> Vec<String> {
    let text =
        format!("services:\n  web:\n    image: x\n{attributes}\nsecrets: {{s: {{file: ./s}}}}\n");
    let warnings = match load_text(&text) {
        Ok(loaded) => loaded.warnings,
        Err(error) => error.diagnostics,
    };
    let shown = warnings.iter().map(|warning| {
        let place = warning
            .labels
            .first()
            .map(|label| label.source.line_column(label.span.start));
        let (line, column) = place.unwrap_or_default();
        let hint = warning.hints.first().cloned().unwrap_or_default();
        format!("{line}:{column} {} | {hint}", warning.message)
    });
    shown.collect()
}

#[test]
fn tells_what_is_not_the_text_that_is_written() {
    for (written, read) in [
        ("01234", "number `668`"),
        ("1.10", "number `1.1`"),
        ("1_000", "number `1000`"),
        ("0x1F", "number `31`"),
        ("1e3", "number `1000`"),
        ("True", "boolean `true`"),
        ("2001-01-02", "time `2001-01-02 00:00:00 +0000 UTC`"),
    ] {
        for (key, column) in [("environment", 22), ("labels", 17)] {
            let attribute = format!("    {key}: {{A: {written}}}");
            assert_eq!(
                warnings(&attribute),
                [format!(
                    "4:{column} `services.web.{key}.A` is not the text `{written}`, but the {read} | write `\"{written}\"` to keep the text"
                )],
            );
        }
    }
}

#[test]
fn tells_words_that_older_readers_take_for_something_else() {
    for (attribute, path, written, meaning, place) in [
        (
            "ports: [22:22]",
            "ports[0]",
            "22:22",
            "the number 1342 (base 60)",
            "4:13",
        ),
        (
            "user: 33:33",
            "user",
            "33:33",
            "the number 2013 (base 60)",
            "4:11",
        ),
        ("restart: no", "restart", "no", "a boolean", "4:14"),
        (
            "environment: {A: yes}",
            "environment.A",
            "yes",
            "a boolean",
            "4:22",
        ),
        ("labels: {a: Off}", "labels.a", "Off", "a boolean", "4:17"),
        ("command: [on]", "command[0]", "on", "a boolean", "4:15"),
    ] {
        let want = format!(
            "{place} `services.web.{path}`: `{written}` is text here, but {meaning} for readers of YAML 1.1 | write `\"{written}\"`"
        );
        let found = warnings(&format!("    {attribute}"));
        assert_eq!(found.last(), Some(&want), "{attribute}");
    }
    assert_eq!(
        warnings("    environment: {NO: x}"),
        [
            "4:19 the key `services.web.environment.NO` is a boolean for readers of YAML 1.1 | write `\"NO\":`"
        ],
    );
}

#[test]
fn tells_modes_that_are_not_octal() {
    assert_eq!(
        warnings("    secrets: [{source: s, mode: 440}]"),
        [
            "4:33 `services.web.secrets[0].mode` is the decimal number 440, which is the mode 0670 | write `0440` for the mode that it looks like"
        ],
    );
    for right in ["0440", "0o440", "\"440\"", "\"0440\"", "288"] {
        let attribute = format!("    secrets: [{{source: s, mode: {right}}}]");
        assert_eq!(warnings(&attribute), Vec::<String>::new(), "{right}");
    }
}

#[test]
fn tells_nothing_where_all_is_clear() {
    for right in [
        "environment: {A: '01234', B: \"yes\", C: '22:22', D: 'True', E: 12, F: 1.5, G: true, H: , I: null, J: text}",
        "environment: [A=01234, B=yes, 'C=1_000']",
        "environment:\n      A: |\n        yes\n      B: >-\n        22:22",
        "ports: ['22:22', '80:80', 8080:80, 80, '53:53/udp', 127.0.0.1:22:22]",
        "labels: {version: '1.10', a.b: x}",
        "user: 1000:1000",
        "restart: 'no'",
        "restart: always",
        "command: echo yes",
        "command: [echo, 'yes', nothing]",
        "x-more: {a: yes, b: 01}",
        "tty: true",
        "build: {context: ., args: {V: '1.10'}}",
    ] {
        assert_eq!(
            warnings(&format!("    {right}")),
            Vec::<String>::new(),
            "{right}"
        );
    }
}

#[test]
fn tells_numbers_whose_zero_makes_them_octal() {
    for (attribute, told) in [
        (
            "ports: [{target: 010}]",
            "4:22 `services.web.ports[0].target` is the octal number `010`, which is 8 | write `10` for the number that it looks like",
        ),
        (
            "oom_score_adj: -0100",
            "4:20 `services.web.oom_score_adj` is the octal number `-0100`, which is -64 | write `-100` for the number that it looks like",
        ),
    ] {
        assert_eq!(warnings(&format!("    {attribute}")), [told]);
    }
    for attribute in [
        "cpu_shares: 08",
        "scale: 07",
        "scale: 0",
        "pids_limit: 0x10",
        "shm_size: '0100'",
    ] {
        assert_eq!(warnings(&format!("    {attribute}")), Vec::<String>::new());
    }
}
