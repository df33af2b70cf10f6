//! Numbers of system calls by name, for the architecture of this program and the 32-bit one beside it.

use std::collections::BTreeMap;

/// A calling convention that the kernel tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    /// The kernel's `AUDIT_ARCH_…`.
    pub audit: u32,
    /// Column in the table.
    column: usize,
}

/// What runs here: the native convention first.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        audit: 0xc000_003e,
        column: 1,
    },
    Architecture {
        audit: 0x4000_0003,
        column: 2,
    },
];

/// What runs here: the native convention first.
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURES: &[Architecture] = &[Architecture {
    audit: 0xc000_00b7,
    column: 3,
}];

/// Docker's name of the architecture, as profiles have it.
pub(super) const NAME: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else {
    "arm64"
};

/// The numbers of all known names.
pub(super) fn numbers(architecture: Architecture) -> BTreeMap<&'static str, u32> {
    include_str!("numbers.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let name = fields.next()?;
            let number = fields.nth(architecture.column - 1)?.parse().ok()?;
            Some((name, number))
        })
        .collect()
}
