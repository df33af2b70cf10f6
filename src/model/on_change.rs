//! `x-hoist-on-change`: what becomes of a service's containers when the content of a secret or config changes.

use serde_json::Value;

use super::{FileReference, Service};

/// The attribute, of a service or of one of its references to a secret or config.
pub const ON_CHANGE: &str = "x-hoist-on-change";

/// What a changed content asks for; later ones include what earlier ones do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnChange {
    /// The running container gets the content, and then a signal.
    Signal(String),
    /// The container is stopped and started.
    Restart,
    /// The container is replaced.
    Recreate,
}

impl OnChange {
    /// Reads a value: `recreate`, `restart` or `{signal: SIGHUP}`; `None` where it is none of them.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(word) if word == "recreate" => Some(Self::Recreate),
            Value::String(word) if word == "restart" => Some(Self::Restart),
            Value::Object(fields) if fields.len() == 1 => {
                let signal = fields.get("signal")?.as_str()?;
                is_signal(signal).then(|| Self::Signal(signal.to_owned()))
            }
            _ => None,
        }
    }

    /// What a service wants for one of its references: the reference's own word, or the service's.
    #[must_use]
    pub fn of(service: &Service, reference: &FileReference) -> Option<Self> {
        let own = reference.extensions.get(ON_CHANGE);
        Self::read(own.or_else(|| service.extensions.get(ON_CHANGE))?)
    }
}

/// A name such as `SIGHUP` or `HUP`: what it means is the engine's to know.
fn is_signal(name: &str) -> bool {
    let letters =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"+-".contains(&byte);
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_uppercase());
    first && name.len() <= 16 && name.bytes().all(letters)
}

/// The content of a secret or config, as it is told from another one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContentMark {
    /// A keyed digest, from which the content cannot be found without the key.
    pub digest: String,
    /// Number of the file that is bound into containers; `None` where the content travels.
    pub inode: Option<u64>,
    /// Where the content comes from, as it is shown.
    pub origin: String,
}

impl ContentMark {
    /// The text that a container carries.
    #[must_use]
    pub fn text(&self) -> String {
        let digest = &self.digest;
        self.inode
            .map_or_else(|| digest.clone(), |inode| format!("{digest}@{inode}"))
    }

    /// Whether a container that carries `text` has another content.
    #[must_use]
    pub fn differs(&self, text: &str) -> bool {
        text.split('@').next() != Some(&self.digest)
    }

    /// Whether a container that carries `text` has another file bound: it sees nothing of this one before it starts
    /// again.
    #[must_use]
    pub fn is_other_file(&self, text: &str) -> bool {
        self.inode.is_some_and(|inode| {
            let bound = text
                .split_once('@')
                .and_then(|(_, number)| number.parse().ok());
            bound != Some(inode)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ContentMark, ON_CHANGE, OnChange};
    use crate::model::{FileReference, Service};

    #[test]
    fn only_the_three_forms_are_read() {
        assert_eq!(OnChange::read(&json!("recreate")), Some(OnChange::Recreate));
        assert_eq!(OnChange::read(&json!("restart")), Some(OnChange::Restart));
        let signal = OnChange::read(&json!({"signal": "SIGHUP"}));
        assert_eq!(signal, Some(OnChange::Signal("SIGHUP".to_owned())));
        for wrong in [
            json!("reload"),
            json!(true),
            json!({"signal": 1}),
            json!({"signal": "sig hup"}),
            json!({"signal": "SIGHUP", "then": 1}),
            json!(null),
        ] {
            assert_eq!(OnChange::read(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_reference_has_the_last_word() {
        let mut service = Service::default();
        let mut reference = FileReference::default();
        assert_eq!(OnChange::of(&service, &reference), None);
        let restart = json!("restart");
        service.extensions.insert(ON_CHANGE.to_owned(), restart);
        assert_eq!(OnChange::of(&service, &reference), Some(OnChange::Restart));
        let recreate = json!("recreate");
        reference.extensions.insert(ON_CHANGE.to_owned(), recreate);
        assert_eq!(OnChange::of(&service, &reference), Some(OnChange::Recreate));
    }

    #[test]
    fn a_replaced_file_is_told_from_a_rewritten_one() {
        let mark = ContentMark {
            digest: "k:1".to_owned(),
            inode: Some(7),
            origin: String::new(),
        };
        assert_eq!(mark.text(), "k:1@7");
        assert!(!mark.differs("k:1@7") && !mark.is_other_file("k:1@7"));
        assert!(mark.differs("k:2@7") && !mark.is_other_file("k:2@7"));
        assert!(mark.is_other_file("k:1@8") && mark.is_other_file("k:1"));
        let travels = ContentMark {
            inode: None,
            ..mark
        };
        assert!(!travels.is_other_file("k:2@7"));
    }
}
