//! Plain scalars that are not what they look like: numbers, dates and booleans where text is meant, modes that are not
//! octal, numbers that are, and words that other readers of YAML understand otherwise. Each is told, with the way out; what stands in
//! quotes never is.
//!
//! Called for each document as it was parsed, because only then is known what was written.

use std::sync::LazyLock;

use super::{
    Code,
    node::{Node, Span, Value},
    path::{Path, Rules},
    report::{Failure, Report},
    scalar, timestamp,
};

/// What a place takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Text: numbers are written anew, and words keep their letters.
    Text,
    /// Text in which two numbers with a colon are common: `22:22`.
    Colons,
    /// A mapping from names of the user's choice to something else.
    Names,
    /// A mapping from names of the user's choice to text.
    Texts,
    /// Permission bits.
    Mode,
    /// A number.
    Number,
}

static PLACES: LazyLock<Rules<Place>> = LazyLock::new(|| {
    Rules::new(&[
        ("configs.*.labels", Place::Texts),
        ("networks", Place::Names),
        ("networks.*.driver_opts", Place::Texts),
        ("networks.*.labels", Place::Texts),
        ("secrets.*.labels", Place::Texts),
        ("services", Place::Names),
        ("services.*.annotations", Place::Texts),
        ("services.*.build.args", Place::Texts),
        ("services.*.build.labels", Place::Texts),
        ("services.*.build.secrets.*.mode", Place::Mode),
        ("services.*.build.shm_size", Place::Number),
        ("services.*.command", Place::Text),
        ("services.*.command.*", Place::Text),
        ("services.*.configs.*.mode", Place::Mode),
        ("services.*.cpu_count", Place::Number),
        ("services.*.cpu_period", Place::Number),
        ("services.*.cpu_quota", Place::Number),
        ("services.*.cpu_shares", Place::Number),
        ("services.*.deploy.labels", Place::Texts),
        ("services.*.deploy.replicas", Place::Number),
        ("services.*.entrypoint.*", Place::Text),
        ("services.*.environment", Place::Texts),
        ("services.*.expose.*", Place::Colons),
        ("services.*.group_add.*", Place::Number),
        ("services.*.healthcheck.interval", Place::Colons),
        ("services.*.healthcheck.retries", Place::Number),
        ("services.*.healthcheck.start_period", Place::Colons),
        ("services.*.healthcheck.timeout", Place::Colons),
        ("services.*.hostname", Place::Text),
        ("services.*.labels", Place::Texts),
        ("services.*.logging.options", Place::Texts),
        ("services.*.mem_limit", Place::Number),
        ("services.*.mem_reservation", Place::Number),
        ("services.*.mem_swappiness", Place::Number),
        ("services.*.memswap_limit", Place::Number),
        ("services.*.oom_score_adj", Place::Number),
        ("services.*.pids_limit", Place::Number),
        ("services.*.ports.*", Place::Colons),
        ("services.*.ports.*.published", Place::Number),
        ("services.*.ports.*.target", Place::Number),
        ("services.*.profiles.*", Place::Text),
        ("services.*.restart", Place::Text),
        ("services.*.scale", Place::Number),
        ("services.*.secrets.*.mode", Place::Mode),
        ("services.*.shm_size", Place::Number),
        ("services.*.stop_grace_period", Place::Colons),
        ("services.*.sysctls", Place::Texts),
        ("services.*.ulimits.*", Place::Number),
        ("services.*.ulimits.*.hard", Place::Number),
        ("services.*.ulimits.*.soft", Place::Number),
        ("services.*.user", Place::Colons),
        ("services.*.volumes.*.tmpfs.mode", Place::Mode),
        ("services.*.volumes.*.tmpfs.size", Place::Number),
        ("volumes", Place::Names),
        ("volumes.*.driver_opts", Place::Texts),
        ("volumes.*.labels", Place::Texts),
    ])
});

/// Tells every trap of a document.
pub(super) fn find(document: &Node, report: &mut Report) {
    if let Value::Map(map) = &document.value {
        let mut walk = Walk { report };
        for (key, node) in map {
            if let Some(next) = PLACES.key(Rules::<Place>::ROOT, key) {
                walk.node(node, Path::ROOT.key(key), next);
            }
        }
    }
}

struct Walk<'a> {
    report: &'a mut Report,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, path: Path<'_>, state: usize) {
        let place = PLACES.rule(state);
        match &node.value {
            Value::Map(map) => {
                for (key, child) in map {
                    let path = path.key(key);
                    if matches!(place, Some(Place::Names | Place::Texts)) {
                        self.key(key, child, path);
                    }
                    match (place, PLACES.key(state, key)) {
                        (Some(Place::Texts), _) => self.scalar(child, Place::Text, path),
                        (_, Some(next)) => self.node(child, path, next),
                        (_, None) => {}
                    }
                }
            }
            Value::List(list) => {
                for (index, element) in list.iter().enumerate() {
                    if let Some(next) = PLACES.element(state) {
                        self.node(element, path.index(index), next);
                    }
                }
            }
            _ => {
                if let Some(place) = place {
                    self.scalar(node, place, path);
                }
            }
        }
    }

    /// Tells a name such as `on`, which is a boolean to some.
    fn key(&mut self, key: &str, node: &Node, path: Path<'_>) {
        if scalar::is_old_boolean(key) && self.written(node.key) == Some(key) {
            let failure = Failure::new(
                Code::YamlTrap,
                format!("the key `{path}` is a boolean for readers of YAML 1.1"),
            );
            self.report
                .warn(failure.at(node.key, "").hint(format!("write `\"{key}\":`")));
        }
    }

    fn scalar(&mut self, node: &Node, place: Place, path: Path<'_>) {
        let Some(written) = self.written(node.span).map(str::to_owned) else {
            return;
        };
        let failure = match (&node.value, place) {
            (Value::Int(number), Place::Mode) => mode(&written, *number, path),
            (Value::Int(number), Place::Number) => octal(&written, *number, path),
            (
                Value::Int(_) | Value::Big(_) | Value::Float(_) | Value::Bool(_),
                Place::Text | Place::Colons,
            ) => changed(&written, node, path),
            (Value::Time(time), Place::Text | Place::Colons) => {
                let text = timestamp::as_text(time);
                let failure = told(format!(
                    "`{path}` is not the text `{written}`, but the time `{text}`"
                ));
                Some(failure.hint(format!("write `\"{written}\"` to keep the text")))
            }
            // A scalar that is not plain.
            (Value::Text(text), _) if **text != *written => None,
            (Value::Text(_), Place::Text | Place::Colons) => ambiguous(&written, path),
            _ => None,
        };
        if let Some(failure) = failure {
            self.report.warn(failure.at(node.span, ""));
        }
    }

    /// Returns what stands at a place.
    fn written(&self, span: Span) -> Option<&str> {
        let source = self.report.source(span)?;
        source.text.get(span.start as usize..span.end as usize)
    }
}

fn told(message: String) -> Failure {
    Failure::new(Code::YamlTrap, message)
}

/// Tells a number or a boolean that is written otherwise when it becomes text.
fn changed(written: &str, node: &Node, path: Path<'_>) -> Option<Failure> {
    let text = node.scalar_text()?;
    let kind = node.kind();
    (text != written).then(|| {
        told(format!(
            "`{path}` is not the text `{written}`, but the {kind} `{text}`"
        ))
        .hint(format!("write `\"{written}\"` to keep the text"))
    })
}

/// Tells permission bits that were meant to be octal.
fn mode(written: &str, number: i64, path: Path<'_>) -> Option<Failure> {
    let looks_octal = matches!(written.len(), 3 | 4)
        && !written.starts_with('0')
        && written.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    looks_octal.then(|| {
        told(format!(
            "`{path}` is the decimal number {written}, which is the mode 0{number:o}"
        ))
        .hint(format!(
            "write `0{written}` for the mode that it looks like"
        ))
    })
}

/// Tells a number whose leading zero makes it an octal one.
fn octal(written: &str, number: i64, path: Path<'_>) -> Option<Failure> {
    let digits = written.trim_start_matches(['-', '+']);
    let decimal = digits.trim_start_matches('0');
    let is_octal = digits.starts_with('0')
        && !decimal.is_empty()
        && decimal.bytes().all(|digit| digit.is_ascii_digit())
        && decimal
            .parse()
            .is_ok_and(|decimal: i64| decimal != number.abs());
    is_octal.then(|| {
        let sign = if number < 0 { "-" } else { "" };
        told(format!(
            "`{path}` is the octal number `{written}`, which is {number}"
        ))
        .hint(format!(
            "write `{sign}{decimal}` for the number that it looks like"
        ))
    })
}

/// Tells a word that is text here, and something else for readers of YAML 1.1.
fn ambiguous(written: &str, path: Path<'_>) -> Option<Failure> {
    let meaning = if scalar::is_old_boolean(written) {
        "a boolean".to_owned()
    } else if scalar::is_base60(written) {
        format!("the number {} (base 60)", scalar::base60(written)?)
    } else {
        return None;
    };
    Some(
        told(format!(
            "`{path}`: `{written}` is text here, but {meaning} for readers of YAML 1.1"
        ))
        .hint(format!("write `\"{written}\"`")),
    )
}
