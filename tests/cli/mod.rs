//! The command line as a whole: arguments in; output, errors and exit status out.

mod diagnostics;
mod digests;
mod listing;
mod publish;
mod remote;
mod usage;
