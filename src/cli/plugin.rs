//! As a plugin of the docker command line: installed as `docker-compose` or `docker-hoist` among its plugins, it is asked
//! who it is, and then started with docker's own flags and its name before the command.
//!
//! ```text
//! docker-compose docker-cli-plugin-metadata            docker-compose --context far compose up -d
//! ```

use std::ffi::OsString;
use std::path::Path;

/// The word by which the docker command line asks a plugin who it is.
const METADATA: &str = "docker-cli-plugin-metadata";

/// Docker's flags that take a value.
const WITH_VALUE: &[&str] = &[
    "-H",
    "--host",
    "-c",
    "--context",
    "--config",
    "-l",
    "--log-level",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
];

/// What a plugin says about itself, where it is asked.
pub(super) fn metadata(arguments: &[OsString]) -> Option<String> {
    (arguments.get(1)? == METADATA).then(|| {
        let description = serde_json::json!({
            "SchemaVersion": "0.1.0",
            "Vendor": "hoist",
            "Version": concat!("v", env!("CARGO_PKG_VERSION")),
            "ShortDescription": "Define and run multi-container applications",
        });
        format!("{description}\n")
    })
}

/// The arguments without the plugin's name, which the docker command line puts before the command.
pub(super) fn without_name(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let program = arguments.first().map(Path::new).and_then(Path::file_stem);
    let Some(name) = program
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.strip_prefix("docker-"))
        .map(str::to_owned)
    else {
        return arguments;
    };
    let mut at = 1;
    while let Some(argument) = arguments.get(at).and_then(|argument| argument.to_str()) {
        if WITH_VALUE.contains(&argument) {
            at += 2;
        } else if argument.starts_with('-') {
            at += 1;
        } else {
            if argument == name {
                arguments.remove(at);
            }
            break;
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::{OsString, metadata, without_name};

    fn stripped(line: &str) -> String {
        let arguments = line.split(' ').map(OsString::from).collect();
        let words = without_name(arguments).into_iter();
        let words: Vec<_> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }

    #[test]
    fn the_plugins_name_is_dropped_and_nothing_else() {
        let stripped_of = |line: &str| stripped(&format!("/p/docker-compose {line}"));
        assert_eq!(stripped_of("compose up"), "/p/docker-compose up");
        assert_eq!(
            stripped_of("--context compose compose -f x up"),
            "/p/docker-compose --context compose -f x up"
        );
        assert_eq!(
            stripped_of("--host=x -D compose ps"),
            "/p/docker-compose --host=x -D ps"
        );
        assert_eq!(stripped_of("up compose"), "/p/docker-compose up compose");
        assert_eq!(stripped("hoist compose up"), "hoist compose up");
        assert_eq!(stripped("docker-hoist hoist up"), "docker-hoist up");
    }

    #[test]
    fn it_says_who_it_is_only_when_asked() {
        let ask = |word: &str| metadata(&[OsString::from("docker-compose"), OsString::from(word)]);
        assert!(
            ask("docker-cli-plugin-metadata").is_some_and(|text| text.contains("SchemaVersion"))
        );
        assert_eq!(ask("up"), None);
    }
}
