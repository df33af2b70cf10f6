//! The system call filter: Docker's default profile, profiles in its JSON, and the compiler to the kernel's BPF.

mod assemble;
mod default;
mod number;
mod profile;
mod specification;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock};

pub use profile::ProfileError;

use self::profile::Profile;

/// The default profile for a capability mask, compiled; hexadecimal digits.
#[must_use]
pub fn default_program(capabilities: u64) -> String {
    static CACHE: OnceLock<Mutex<BTreeMap<u64, String>>> = OnceLock::new();
    let Ok(mut cache) = CACHE.get_or_init(Mutex::default).lock() else {
        return compile(&default::profile(capabilities));
    };
    cache
        .entry(capabilities)
        .or_insert_with(|| compile(&default::profile(capabilities)))
        .clone()
}

/// A profile in Docker's JSON, compiled; hexadecimal digits.
///
/// # Errors
/// When the profile cannot be read.
pub fn custom_program(json: &str, capabilities: u64) -> Result<String, ProfileError> {
    Ok(compile(&Profile::parse(json, capabilities)?))
}

/// The default profile for a capability mask, as the OCI runtime specification has it: JSON.
#[must_use]
pub fn default_specification(capabilities: u64) -> String {
    specification::of(&default::profile(capabilities))
}

/// A profile in Docker's JSON, as the OCI runtime specification has it: nothing in it depends on capabilities any more.
///
/// # Errors
/// When the profile cannot be read.
pub fn custom_specification(json: &str, capabilities: u64) -> Result<String, ProfileError> {
    Ok(specification::of(&Profile::parse(json, capabilities)?))
}

fn compile(profile: &Profile) -> String {
    let mut digits = String::new();
    for instruction in assemble::program(profile) {
        for byte in instruction.bytes() {
            // Writing to a text cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
    }
    digits
}

#[cfg(test)]
mod tests;
