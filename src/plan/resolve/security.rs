//! Security options (behaviours.md B162).

use crate::model::Service;

/// Whether the engine's masked and read-only paths are lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unconfined {
    /// They are lifted.
    Yes,
    /// They stay.
    No,
}

/// Options for the engine.
pub(super) struct Security {
    pub(super) options: Vec<String>,
    pub(super) paths: Unconfined,
}

/// `systempaths=unconfined` is no option of the engine but a change of its paths; `key:value` is the older spelling.
/// A seccomp profile stays a path here: `apply` reads it when it creates the container.
pub(super) fn security(service: &Service) -> Security {
    let mut security = Security {
        options: Vec::new(),
        paths: Unconfined::No,
    };
    for option in &service.security_opt {
        let option = match option.split_once(':') {
            Some((key, value)) if !option.contains('=') => format!("{key}={value}"),
            Some(_) | None => option.clone(),
        };
        if option == "systempaths=unconfined" {
            security.paths = Unconfined::Yes;
        } else {
            security.options.push(option);
        }
    }
    security
}
