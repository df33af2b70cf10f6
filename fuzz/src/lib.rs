//! The layers `model` and `load` of hoist, compiled on their own: no engine has to be built with the fuzzer's
//! instrumentation, and a build takes a minute. The targets call `load::probe`.

#[path = "../../src/load/mod.rs"]
pub mod load;
#[path = "../../src/model/mod.rs"]
pub mod model;
