//! The system calls that have no safe wrapper elsewhere: the only unsafe code of the package.
//!
//! Everything that rustix offers safely is called from rustix directly; here is the rest, each as a safe function
//! whose precondition is kept by its types. Called by `runtime::container` and `runtime::keeper`.

pub mod bpf;
pub mod memory;
pub mod mount;
pub mod netns;
pub mod process;
pub mod userns;
