//! Against real engines.

mod alternation;
mod build;
mod builtin;
mod convergence;
mod credentials;
mod delivery;
mod docker;
mod dockerfile;
mod generate;
mod health;
mod hooks;
mod install;
mod lock;
mod logs;
mod migrate;
mod on_change;
mod plan;
mod quickstart;
mod refusal;
mod remote;
mod rolling;
mod rootless;
mod run_environment;
mod update;
mod watch;
