//! Variables in values, and the types that substituted text takes (behaviours.md B048-B056).

use std::sync::LazyLock;

use super::{
    Code,
    env::EnvMap,
    node::{Node, Span, Value},
    path::{Path, Rules},
    report::{Failure, Failures, Report},
    template::{self, Lookup, TemplateError},
};

/// The type that text is turned into.
#[derive(Debug, Clone, Copy)]
enum Cast {
    Int,
    Float,
    Float32,
    Bool,
}

static CASTS: LazyLock<Rules<Cast>> = LazyLock::new(|| {
    Rules::new(&[
        ("services.*.cpu_count", Cast::Int),
        ("services.*.cpu_percent", Cast::Float),
        ("services.*.cpu_period", Cast::Int),
        ("services.*.cpu_quota", Cast::Int),
        ("services.*.cpu_rt_period", Cast::Int),
        ("services.*.cpu_rt_runtime", Cast::Int),
        ("services.*.cpus", Cast::Float32),
        ("services.*.cpu_shares", Cast::Int),
        ("services.*.init", Cast::Bool),
        ("services.*.depends_on.*.required", Cast::Bool),
        ("services.*.depends_on.*.restart", Cast::Bool),
        ("services.*.deploy.replicas", Cast::Int),
        ("services.*.deploy.update_config.parallelism", Cast::Int),
        (
            "services.*.deploy.update_config.max_failure_ratio",
            Cast::Float,
        ),
        ("services.*.deploy.rollback_config.parallelism", Cast::Int),
        (
            "services.*.deploy.rollback_config.max_failure_ratio",
            Cast::Float,
        ),
        ("services.*.deploy.restart_policy.max_attempts", Cast::Int),
        (
            "services.*.deploy.placement.max_replicas_per_node",
            Cast::Int,
        ),
        ("services.*.healthcheck.retries", Cast::Int),
        ("services.*.healthcheck.disable", Cast::Bool),
        ("services.*.oom_kill_disable", Cast::Bool),
        ("services.*.oom_score_adj", Cast::Int),
        ("services.*.pids_limit", Cast::Int),
        ("services.*.ports.*.target", Cast::Int),
        ("services.*.privileged", Cast::Bool),
        ("services.*.read_only", Cast::Bool),
        ("services.*.scale", Cast::Int),
        ("services.*.stdin_open", Cast::Bool),
        ("services.*.tty", Cast::Bool),
        ("services.*.ulimits.*", Cast::Int),
        ("services.*.ulimits.*.hard", Cast::Int),
        ("services.*.ulimits.*.soft", Cast::Int),
        ("services.*.volumes.*.read_only", Cast::Bool),
        ("services.*.volumes.*.volume.nocopy", Cast::Bool),
        ("networks.*.external", Cast::Bool),
        ("networks.*.internal", Cast::Bool),
        ("networks.*.attachable", Cast::Bool),
        ("networks.*.enable_ipv4", Cast::Bool),
        ("networks.*.enable_ipv6", Cast::Bool),
        ("volumes.*.external", Cast::Bool),
        ("secrets.*.external", Cast::Bool),
        ("configs.*.external", Cast::Bool),
    ])
});

/// Substitutes the variables of a whole tree in place.
///
/// Every value that has a wrong format, misses a required variable, or is not of its type stays as it is and is told.
pub(super) fn interpolate(tree: &mut Node, environment: &EnvMap, report: &mut Report) -> Wrong {
    let mut walk = Walk {
        environment,
        report,
        wrong: Wrong::default(),
    };
    walk.node(tree, Path::ROOT, Some(Rules::<Cast>::ROOT));
    walk.wrong
}

/// What could not be substituted.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    /// Why.
    pub(super) failures: Failures,
    /// Which values.
    pub(super) values: Vec<Span>,
}

/// Substitutes one text that stands at a place, such as the project's name.
///
/// # Errors
/// Fails where the text has a wrong format or misses a required variable.
pub(super) fn interpolate_text(
    text: &str,
    span: Span,
    environment: &EnvMap,
    report: &mut Report,
) -> Result<String, Failures> {
    let mut node = Node::text(text, span);
    interpolate(&mut node, environment, report)
        .failures
        .into_result()?;
    Ok(node.scalar_text().unwrap_or_default())
}

struct Walk<'a> {
    environment: &'a EnvMap,
    report: &'a mut Report,
    wrong: Wrong,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, path: Path<'_>, state: Option<usize>) {
        let span = node.span;
        match &mut node.value {
            Value::Map(map) => {
                for (key, child) in map {
                    let next = state.and_then(|at| CASTS.key(at, key));
                    self.node(child, path.key(key), next);
                }
            }
            Value::List(list) => {
                let next = state.and_then(|at| CASTS.element(at));
                for (index, child) in list.iter_mut().enumerate() {
                    self.node(child, path.index(index), next);
                }
            }
            Value::Text(text) => {
                if text.contains('$') {
                    match self.substitute(text, span, path) {
                        Some(substituted) => *text = substituted.into(),
                        None => return,
                    }
                }
                if let Some(cast) = state.and_then(|at| CASTS.rule(at)) {
                    match self.cast(text, cast, span) {
                        Ok(value) => node.value = value,
                        Err(wanted) => {
                            let failure = Failure::new(
                                Code::WrongType,
                                format!("`{path}` must be {wanted}, not "),
                            );
                            self.fail(failure.quoted(span, text).at(span, ""), span);
                        }
                    }
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Big(_)
            | Value::Float(_)
            | Value::Time(_) => {}
        }
    }

    fn fail(&mut self, failure: Failure, span: Span) {
        self.wrong.failures.0.push(failure);
        self.wrong.values.push(span);
    }

    fn substitute(&mut self, text: &str, span: Span, path: Path<'_>) -> Option<String> {
        let mut variables = Variables {
            environment: self.environment,
            missing: Vec::new(),
        };
        let result = template::substitute(text, &mut variables);
        for name in variables.missing {
            let place = self.variable_span(span, &name);
            self.report.warn(
                Failure::new(
                    Code::UnsetVariable,
                    format!("The \"{name}\" variable is not set. Defaulting to a blank string."),
                )
                .at(place, ""),
            );
        }
        match result {
            Ok(substituted) => Some(substituted),
            Err(error) => {
                let failure = self.failure(&error, text, span, path);
                self.fail(failure, span);
                None
            }
        }
    }

    fn failure(&self, error: &TemplateError, text: &str, span: Span, path: Path<'_>) -> Failure {
        match error {
            TemplateError::Invalid => Failure::new(
                Code::Interpolation,
                format!("invalid interpolation format for `{path}`: `{text}`"),
            )
            .at(self.part_span(span, template::invalid_part(text)), "")
            .hint_if(expression_hint(template::invalid_part(text)))
            .hint("a `$` that is meant as such is written `$$`"),
            TemplateError::TooDeep => Failure::new(Code::Limit, format!("{error}")).at(span, ""),
            TemplateError::Required { name, .. } => {
                Failure::new(Code::RequiredVariable, format!("{error}"))
                    .at(
                        self.variable_span(span, name),
                        format!("needed for `{path}`"),
                    )
                    .hint(format!(
                        "set it in the environment or in `.env`: `{name}=…`"
                    ))
            }
        }
    }

    /// Narrows the place of a value to a part of it, where that stands there as written.
    fn part_span(&self, span: Span, part: &str) -> Span {
        let written = self.report.source(span).and_then(|source| {
            let range = span.start as usize..span.end as usize;
            source.text.get(range)
        });
        let found = written.and_then(|written| written.find(part));
        found.filter(|_| !part.is_empty()).map_or(span, |at| {
            let start = span.start + u32::try_from(at).unwrap_or(0);
            let end = start + u32::try_from(part.len()).unwrap_or(0);
            Span { start, end, ..span }
        })
    }

    /// Narrows the place of a value to the variable in it, where the text stands there as written.
    fn variable_span(&self, span: Span, name: &str) -> Span {
        let Some(source) = self.report.source(span) else {
            return span;
        };
        let range = span.start as usize..span.end as usize;
        let Some(written) = source.text.get(range) else {
            return span;
        };
        for (form, skip) in [(format!("${{{name}"), 2), (format!("${name}"), 1)] {
            let found = written.match_indices(&form).find(|(at, _)| {
                let after = written[at + form.len()..].chars().next();
                !after.is_some_and(|next| next.is_ascii_alphanumeric() || next == '_')
            });
            if let Some((at, _)) = found {
                let start = span.start + u32::try_from(at).unwrap_or(0);
                let end = start + u32::try_from(form.len()).unwrap_or(0);
                let brace = written[at + form.len()..].find('}').filter(|_| skip == 2);
                let end = brace.map_or(end, |more| end + u32::try_from(more).unwrap_or(0) + 1);
                return Span { start, end, ..span };
            }
        }
        span
    }

    fn cast(&mut self, text: &str, cast: Cast, span: Span) -> Result<Value, &'static str> {
        match cast {
            Cast::Int => text.parse().map(Value::Int).map_err(|_| "an integer"),
            Cast::Float => text.parse().map(Value::Float).map_err(|_| "a number"),
            Cast::Float32 => text
                .parse::<f32>()
                .map(|number| Value::Float(shortest(number)))
                .map_err(|_| "a number"),
            Cast::Bool => self.boolean(text, span).map(Value::Bool).ok_or("a boolean"),
        }
    }

    fn boolean(&mut self, text: &str, span: Span) -> Option<bool> {
        let (value, instead) = parse_boolean(text)?;
        if let Some(instead) = instead {
            self.report.warn(
                Failure::new(Code::YamlTrap, "\"")
                    .value(span, text)
                    .say(format!(
                        "\" for boolean is not supported by YAML 1.2, please use `{instead}`"
                    ))
                    .at(span, ""),
            );
        }
        Some(value)
    }
}

/// Reads a boolean as docker compose does; the second value is what should have been written instead.
pub(super) fn parse_boolean(text: &str) -> Option<(bool, Option<&'static str>)> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some((true, None)),
        "false" => Some((false, None)),
        "y" | "yes" | "on" => Some((true, Some("true"))),
        "n" | "no" | "off" => Some((false, Some("false"))),
        _ => None,
    }
}

/// Widens a float without inventing digits: 0.1 stays 0.1.
pub(super) fn shortest(number: f32) -> f64 {
    number
        .to_string()
        .parse()
        .unwrap_or_else(|_| f64::from(number))
}

/// Says what is usually meant by an expression that is none.
fn expression_hint(part: &str) -> Option<String> {
    let inner = part.strip_prefix("${")?;
    let end = inner
        .find(|next: char| !next.is_ascii_alphanumeric() && next != '_')
        .unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        Some("the name of a variable starts with a letter or `_`".to_owned())
    } else if !part.contains('}') {
        Some(format!(
            "`${{{name}` is not closed: a `}}` is missing on its line"
        ))
    } else if rest.starts_with(":=") || rest.starts_with('=') {
        Some(format!("a default is written `${{{name}:-DEFAULT}}`"))
    } else {
        Some(format!(
            "behind the name stands `:-DEFAULT`, `:+ALTERNATIVE`, `:?MESSAGE` or `}}`: `${{{name}}}`"
        ))
    }
}

struct Variables<'a> {
    environment: &'a EnvMap,
    missing: Vec<String>,
}

impl Lookup for Variables<'_> {
    fn find(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    fn missing(&mut self, name: &str) {
        self.missing.push(name.to_owned());
    }
}
