//! The kinds of mistakes, as words that an editor or a pipeline can be set up with; each is stable.

use std::fmt;

macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $word:literal,)*) => {
        /// The kind of a diagnostic.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$meta])* $variant,)*
        }

        impl Code {
            /// Every kind, with the sentence that explains it.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The word that stands for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Code::$variant => $word,)*
                }
            }
        }
    };
}

codes! {
    /// The text is not YAML.
    YamlSyntax = "yaml-syntax",
    /// A key is written twice.
    DuplicateKey = "duplicate-key",
    /// A key is not text, or `<<` has no mapping.
    WrongKey = "wrong-key",
    /// Nesting or aliases go beyond the limits.
    Limit = "limit",
    /// What another reader of YAML understands otherwise, or what is not what it looks like.
    YamlTrap = "yaml-trap",
    /// A file that is named is not there, or cannot be read.
    File = "file",
    /// Nothing is in the files.
    Empty = "empty",
    /// Several files could be meant.
    Ambiguous = "ambiguous-file",
    /// A file on a network could not be had.
    Remote = "remote",
    /// The project's name is missing or not a valid one.
    ProjectName = "project-name",
    /// `${…}` is not an expression.
    Interpolation = "interpolation",
    /// A variable that has to have a value has none.
    RequiredVariable = "required-variable",
    /// A variable without a value is left empty.
    UnsetVariable = "unset-variable",
    /// A key that the specification does not know.
    UnknownKey = "unknown-key",
    /// A key that has to be there is not.
    MissingKey = "missing-key",
    /// A value of the wrong kind.
    WrongType = "wrong-type",
    /// A value that its place cannot take.
    InvalidValue = "invalid-value",
    /// An element is in a list twice.
    DuplicateItem = "duplicate-item",
    /// Two values exclude each other, or have to be equal.
    Conflict = "conflict",
    /// What one file says cannot be laid over what another says.
    Override = "override",
    /// An `include` that cannot be followed.
    Include = "include",
    /// An `extends` that cannot be followed.
    Extends = "extends",
    /// A name that nothing declares.
    Undefined = "undefined",
    /// Services that wait for each other in a circle.
    DependencyCycle = "dependency-cycle",
    /// A service without an image.
    NoImage = "no-image",
    /// A line that is no assignment, in a file of variables.
    EnvFile = "env-file",
    /// Something old that is still read.
    Deprecated = "deprecated",
    /// Something that is read and has no effect.
    Ignored = "ignored",
    /// The files are right, but what they ask for cannot be had now.
    Unmet = "unmet",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
