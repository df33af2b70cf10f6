//! Instructions that change an image's config: for `import` and `commit`, and for the builder.

use std::collections::HashMap;

use bollard_stubs::models::{HealthConfig, ImageConfig};

use super::ImageError;
use super::words::{expand, split_words};

const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies lines such as `CMD ["x"]` or `ENV A=1`; only instructions that set the config are allowed.
///
/// # Errors
/// When one is something else or malformed.
pub fn apply_changes(config: &mut ImageConfig, changes: &[String]) -> Result<(), ImageError> {
    let mut command_set = false;
    for line in changes
        .iter()
        .flat_map(|change| change.lines())
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let keyword = keyword.to_ascii_uppercase();
        if keyword == "SHELL" || !is_config_instruction(&keyword) {
            return Err(refused(format!(
                "dockerfile parse error on line 1: unknown instruction: {keyword}"
            )));
        }
        command_set |= keyword == "CMD";
        if keyword == "ENTRYPOINT" && !command_set {
            // A command that was meant as arguments of another entry point is of no use.
            config.cmd = None;
        }
        let environment = environment_of(config);
        apply(config, &keyword, rest.trim(), '\\', &|name| {
            environment.get(name).cloned()
        })?;
    }
    Ok(())
}

/// Whether an instruction only changes the config.
#[must_use]
pub fn is_config_instruction(keyword: &str) -> bool {
    matches!(
        keyword,
        "CMD"
            | "ENTRYPOINT"
            | "ENV"
            | "EXPOSE"
            | "LABEL"
            | "ONBUILD"
            | "USER"
            | "VOLUME"
            | "WORKDIR"
            | "HEALTHCHECK"
            | "STOPSIGNAL"
            | "SHELL"
            | "MAINTAINER"
    )
}

/// The environment of a config as a map.
#[must_use]
pub fn environment_of(config: &ImageConfig) -> HashMap<String, String> {
    config
        .env
        .iter()
        .flatten()
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

/// Applies one config instruction.
///
/// # Errors
/// When it is malformed.
pub fn apply(
    config: &mut ImageConfig,
    keyword: &str,
    rest: &str,
    escape: char,
    lookup: super::words::Lookup<'_>,
) -> Result<(), ImageError> {
    let word = |text: &str| expand(text, escape, lookup);
    let needed = || {
        if rest.is_empty() {
            Err(refused(format!("{keyword} requires at least one argument")))
        } else {
            Ok(rest)
        }
    };
    match keyword {
        "CMD" => config.cmd = Some(command(config, rest)),
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(config, rest));
        }
        "ENV" => {
            for (name, value) in pairs(keyword, needed()?, escape)? {
                set_env(config, &word(&name)?, &word(&value)?);
            }
        }
        "LABEL" => {
            for (name, value) in pairs(keyword, needed()?, escape)? {
                config
                    .labels
                    .get_or_insert_default()
                    .insert(word(&name)?, word(&value)?);
            }
        }
        "EXPOSE" => {
            for port in split_words(needed()?, escape) {
                expose(config, &word(&port)?)?;
            }
        }
        "VOLUME" => {
            let paths = json_form(needed()?).unwrap_or_else(|| split_words(rest, escape));
            for path in paths {
                add_unique(config.volumes.get_or_insert_default(), word(&path)?.trim());
            }
        }
        "USER" => config.user = Some(word(needed()?)?),
        "WORKDIR" => {
            config.working_dir = Some(join_workdir(
                config.working_dir.as_deref().unwrap_or("/"),
                &word(needed()?)?,
            ));
        }
        "STOPSIGNAL" => config.stop_signal = Some(word(needed()?)?),
        "SHELL" => {
            config.shell = Some(json_form(needed()?).filter(|s| !s.is_empty()).ok_or_else(
                || refused("SHELL requires the arguments to be in JSON form".to_owned()),
            )?);
        }
        "ONBUILD" => on_build(config, needed()?)?,
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(needed()?)?),
        // The author is the caller's to keep.
        "MAINTAINER" => {}
        _ => return Err(refused(format!("unknown instruction: {keyword}"))),
    }
    Ok(())
}

/// `["a", "b"]` as a list; anything else is the text form.
#[must_use]
pub fn json_form(rest: &str) -> Option<Vec<String>> {
    serde_json::from_str(rest.trim()).ok()
}

/// The command line of a text or list form.
#[must_use]
pub fn command(config: &ImageConfig, rest: &str) -> Vec<String> {
    json_form(rest).unwrap_or_else(|| {
        let mut whole = config
            .shell
            .clone()
            .unwrap_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec());
        whole.push(rest.to_owned());
        whole
    })
}

/// Sets a variable in its place, or at the end.
pub fn set_env(config: &mut ImageConfig, name: &str, value: &str) {
    let env = config.env.get_or_insert_default();
    let pair = format!("{name}={value}");
    match env
        .iter_mut()
        .find(|old| old.split('=').next() == Some(name))
    {
        Some(old) => *old = pair,
        None => env.push(pair),
    }
}

/// `a=b c=d`, or the old `a b c d`, which sets `a` to `b c d`.
fn pairs(keyword: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, ImageError> {
    let words = split_words(rest, escape);
    let first = words.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| refused(format!("{keyword} must have two arguments")))?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(refused(format!("{keyword} names can not be blank"))),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(refused(format!(
                "Syntax error - can't find = in \"{word}\". Must be of the form: name=value"
            ))),
        })
        .collect()
}

fn expose(config: &mut ImageConfig, port: &str) -> Result<(), ImageError> {
    let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let bad = || refused(format!("invalid containerPort: {port}"));
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(refused(format!("invalid proto: {protocol}")));
    }
    // A host part, as in -p, is of no use in an image.
    let range = range.rsplit(':').next().unwrap_or(range);
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let (low, high): (u16, u16) = (
        low.parse().map_err(|_| bad())?,
        high.parse().map_err(|_| bad())?,
    );
    if low > high {
        return Err(bad());
    }
    for number in low..=high {
        add_unique(
            config.exposed_ports.get_or_insert_default(),
            &format!("{number}/{protocol}"),
        );
    }
    Ok(())
}

fn add_unique(list: &mut Vec<String>, item: &str) {
    if !list.iter().any(|old| old == item) {
        list.push(item.to_owned());
    }
}

/// A working directory relative to the present one, cleaned.
#[must_use]
pub fn join_workdir(present: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{present}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn on_build(config: &mut ImageConfig, trigger: &str) -> Result<(), ImageError> {
    let keyword = trigger
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    match keyword.as_str() {
        "ONBUILD" => Err(refused(
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned(),
        )),
        "MAINTAINER" | "FROM" => Err(refused(format!(
            "{keyword} isn't allowed as an ONBUILD trigger"
        ))),
        _ => {
            config
                .on_build
                .get_or_insert_default()
                .push(trigger.to_owned());
            Ok(())
        }
    }
}

fn healthcheck(rest: &str) -> Result<HealthConfig, ImageError> {
    let mut health = HealthConfig::default();
    let mut rest = rest.trim();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag
            .split_once('=')
            .ok_or_else(|| refused(format!("missing a value on flag: {flag}")))?;
        set_health_flag(&mut health, name, value)?;
        rest = after.trim_start();
    }
    let (kind, test) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let test = test.trim();
    health.test = Some(match kind.to_ascii_uppercase().as_str() {
        "NONE" if test.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err(refused("HEALTHCHECK NONE takes no arguments".to_owned())),
        "CMD" if test.is_empty() => {
            return Err(refused("Missing command after HEALTHCHECK CMD".to_owned()));
        }
        "CMD" => match json_form(test) {
            Some(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
            None => vec!["CMD-SHELL".to_owned(), test.to_owned()],
        },
        other => {
            return Err(refused(format!(
                "Unknown type {other:?} in HEALTHCHECK (try CMD)"
            )));
        }
    });
    Ok(health)
}

fn set_health_flag(health: &mut HealthConfig, name: &str, value: &str) -> Result<(), ImageError> {
    let bad = || refused(format!("invalid value `{value}` of --{name}"));
    let duration = || {
        let parsed: jiff::SignedDuration = value.parse().map_err(|_| bad())?;
        i64::try_from(parsed.as_nanos()).map_err(|_| bad())
    };
    match name {
        "interval" => health.interval = Some(duration()?),
        "timeout" => health.timeout = Some(duration()?),
        "start-period" => health.start_period = Some(duration()?),
        "start-interval" => health.start_interval = Some(duration()?),
        "retries" => health.retries = Some(value.parse().map_err(|_| bad())?),
        _ => return Err(refused(format!("unknown flag: {name}"))),
    }
    Ok(())
}

fn refused(message: String) -> ImageError {
    ImageError::InvalidChange { message }
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::ImageConfig;

    use super::apply_changes;

    fn changed(lines: &[&str]) -> Result<ImageConfig, super::ImageError> {
        let mut config = ImageConfig::default();
        apply_changes(
            &mut config,
            &lines
                .iter()
                .map(|&line| line.to_owned())
                .collect::<Vec<_>>(),
        )?;
        Ok(config)
    }

    #[test]
    fn changes_are_in_the_config() -> Result<(), Box<dyn std::error::Error>> {
        let config = changed(&[
            "CMD [\"x\"]",
            "ENV A=1 B=\"two $A words\"",
            "ENV C one two",
            "EXPOSE 80 53/udp 90-91",
            "LABEL a=b",
            "WORKDIR /a",
            "workdir b/../c",
            "VOLUME /v /w",
            "HEALTHCHECK --interval=5s --retries=3 CMD test -e /x",
            "ENTRYPOINT sh -e",
        ])?;
        assert_eq!(config.cmd, Some(vec!["x".to_owned()]));
        assert_eq!(
            config.env,
            Some(vec![
                "A=1".to_owned(),
                "B=two  words".to_owned(),
                "C=one two".to_owned()
            ])
        );
        assert_eq!(
            config.exposed_ports.map(|p| p.join(" ")),
            Some("80/tcp 53/udp 90/tcp 91/tcp".to_owned())
        );
        assert_eq!(config.working_dir.as_deref(), Some("/a/c"));
        assert_eq!(
            config.entrypoint,
            Some(vec![
                "/bin/sh".to_owned(),
                "-c".to_owned(),
                "sh -e".to_owned()
            ])
        );
        let health = config.healthcheck.ok_or("no healthcheck")?;
        assert_eq!(
            (health.interval, health.retries),
            (Some(5_000_000_000), Some(3))
        );
        Ok(())
    }

    #[test]
    fn other_instructions_are_refused() {
        for line in [
            "BOGUS x",
            "RUN x",
            "FROM x",
            "ENV",
            "ENV A",
            "EXPOSE x",
            "EXPOSE 9-1",
            "EXPOSE 1/xyz",
            "HEALTHCHECK x",
            "ONBUILD FROM x",
        ] {
            assert!(changed(&[line]).is_err(), "{line}");
        }
    }
}
