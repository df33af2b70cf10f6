//! Compose files to a [`crate::model::Project`].
//!
//! Called by `cli::context` with everything that the process has (environment, directory, flags) as a value.

mod error;
mod node;
mod request;
mod template;

pub use error::{Diagnostic, Label, LoadError, Severity, Source};
pub use node::{Instruction, Map as Tree, Node, Span, Value};
pub use request::{Dependencies, LoadRequest, Loaded, LoadedTree, Phase, Resources};
pub use template::Variable;

/// Says whether the request reads standard input, so that the caller puts its text into [`LoadRequest::stdin`].
#[must_use]
pub fn reads_stdin(request: &LoadRequest) -> bool {
    request.files.iter().any(|file| file == "-")
}

/// Loads a project.
///
/// # Errors
/// Fails with every independent error that the files hold.
pub fn load(request: &LoadRequest) -> Result<Loaded, LoadError> {
    Err(Diagnostic::error(format!("cannot load {:?} yet", request.files)).into())
}
