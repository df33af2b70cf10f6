//! Errors of an engine: what was tried on what.

/// An engine call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} `{resource}`")]
pub struct EngineError {
    /// What was tried, as a verb phrase: `create container`.
    pub operation: &'static str,
    /// On what: a name, an id or an address.
    pub resource: String,
    /// What kind of failure it is.
    pub kind: EngineErrorKind,
    /// The engine's own words, or the failure below.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Kinds of failures that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineErrorKind {
    /// The engine does not answer.
    Unreachable,
    /// The object does not exist (404).
    NotFound,
    /// The object is in another state, or its name is taken (409).
    Conflict,
    /// The engine refuses the request (400).
    Invalid,
    /// The engine cannot do this.
    Unsupported,
    /// Anything else.
    Failed,
}

impl EngineError {
    /// Makes an error with a message of ours as its cause.
    #[must_use]
    pub fn new(
        operation: &'static str,
        resource: impl Into<String>,
        kind: EngineErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            operation,
            resource: resource.into(),
            kind,
            source: source.into(),
        }
    }

    /// Says the name of a container wherever the error says its id: nobody knows sixty-four digits by heart.
    #[must_use]
    pub fn named(mut self, id: &str, name: &str) -> Self {
        if id.is_empty() || name.is_empty() {
            return self;
        }
        self.resource = self.resource.replace(id, name);
        let words = self.source.to_string();
        if words.contains(id) {
            self.source = words.replace(id, name).into();
        }
        self
    }

    /// Whether the object was not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == EngineErrorKind::NotFound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_told_by_its_name_in_what_was_tried_and_in_the_words_of_the_engine() {
        let id = "0123456789abcdef".repeat(4);
        let words = format!("cannot join network namespace of container {id}: not running");
        let error = EngineError::new("start container", &id, EngineErrorKind::Conflict, words);
        let error = error.named(&id, "shop-web-1");
        assert_eq!(error.to_string(), "start container `shop-web-1`");
        assert_eq!(
            error.source.to_string(),
            "cannot join network namespace of container shop-web-1: not running"
        );
        assert_eq!(error.kind, EngineErrorKind::Conflict);
    }
}
