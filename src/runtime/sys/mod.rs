//! The system calls: the only unsafe code of the package.
