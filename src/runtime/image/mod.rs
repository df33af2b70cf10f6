//! Images: store, archives, layers.
