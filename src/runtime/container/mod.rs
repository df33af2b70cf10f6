//! One container: request, set-up list, the child that performs it.
