//! The kinds of mistakes, as words that an editor or a pipeline can be set up with; each is stable.

use std::fmt;

macro_rules! codes {
    ($($variant:ident = $word:literal, $sentence:literal;)*) => {
        /// The kind of a diagnostic.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $sentence] $variant,)*
        }

        impl Code {
            /// Every kind.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The word that stands for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Code::$variant => $word,)*
                }
            }

            /// What it means.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Code::$variant => $sentence,)*
                }
            }
        }
    };
}

codes! {
    YamlSyntax = "yaml-syntax",
        "The text is not YAML.";
    DuplicateKey = "duplicate-key",
        "A key is written twice.";
    WrongKey = "wrong-key",
        "A key is not text, or `<<` has no mapping.";
    Limit = "limit",
        "Nesting or aliases go beyond the limits.";
    YamlTrap = "yaml-trap",
        "What another reader of YAML understands otherwise, or what is not what it looks like.";
    File = "file",
        "A file that is named is not there, or cannot be read.";
    Empty = "empty",
        "Nothing is in the files.";
    Ambiguous = "ambiguous-file",
        "Several files could be meant.";
    Remote = "remote",
        "A file on a network could not be had.";
    ProjectName = "project-name",
        "The project's name is missing or not a valid one.";
    Interpolation = "interpolation",
        "`${…}` is not an expression.";
    RequiredVariable = "required-variable",
        "A variable that has to have a value has none.";
    UnsetVariable = "unset-variable",
        "A variable without a value is left empty.";
    UnknownKey = "unknown-key",
        "A key that the specification does not know.";
    MissingKey = "missing-key",
        "A key that has to be there is not.";
    WrongType = "wrong-type",
        "A value of the wrong kind.";
    InvalidValue = "invalid-value",
        "A value that its place cannot take.";
    DuplicateItem = "duplicate-item",
        "An element is in a list twice.";
    Conflict = "conflict",
        "Two values exclude each other, or have to be equal.";
    Override = "override",
        "What one file says cannot be laid over what another says.";
    Include = "include",
        "An `include` that cannot be followed.";
    Extends = "extends",
        "An `extends` that cannot be followed.";
    Undefined = "undefined",
        "A name that nothing declares.";
    DependencyCycle = "dependency-cycle",
        "Services that wait for each other in a circle.";
    NoImage = "no-image",
        "A service without an image.";
    EnvFile = "env-file",
        "A line that is no assignment, in a file of variables.";
    Deprecated = "deprecated",
        "Something old that is still read.";
    Ignored = "ignored",
        "Something that is read and has no effect.";
    Unmet = "unmet",
        "The files are right, but what they ask for cannot be had now.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
