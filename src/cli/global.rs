//! The flags before the command: docker compose's, and `--engine`.

use std::path::PathBuf;

use clap::Args;

/// Flags that every command shares. They stand before the command, because `-f` and `-p` mean other things after it.
#[derive(Debug, Clone, Default, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(crate) struct GlobalArgs {
    /// Include all resources, even those not used by services
    #[arg(long)]
    pub(crate) all_resources: bool,
    /// Control when to print ANSI control characters (never|always|auto)
    #[arg(long, value_name = "WHEN")]
    pub(crate) ansi: Option<String>,
    /// Run in backward compatibility mode
    #[arg(long)]
    pub(crate) compatibility: bool,
    /// Show what would be done, and do nothing
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    /// Use this engine: docker, podman, hoist, or an address (unix://, tcp://, http://)
    #[arg(long, value_name = "NAME|URL")]
    pub(crate) engine: Option<String>,
    /// Use the engine at this address, as the docker command line does
    #[arg(short = 'H', long, value_name = "URL", conflicts_with = "engine")]
    pub(crate) host: Option<String>,
    /// Use the engine of this docker context
    #[arg(short = 'c', long, value_name = "NAME", conflicts_with = "engine")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) docker: DockerArgs,
    /// Read an environment file instead of .env
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<String>,
    /// Read this Compose file; later ones override
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<String>,
    /// Control the number of parallel engine calls, -1 for unlimited
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) parallel: Option<i64>,
    /// Enable a profile
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Vec<String>,
    /// Choose how progress is shown (auto|tty|plain|json|quiet)
    #[arg(long, value_name = "STYLE")]
    pub(crate) progress: Option<String>,
    /// Resolve relative paths from this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) project_directory: Option<PathBuf>,
    /// Name the project
    #[arg(short, long, value_name = "NAME")]
    pub(crate) project_name: Option<String>,
    /// Log which files are read and which engine answers; the same as --debug
    #[arg(long, hide = true)]
    pub(crate) verbose: bool,
    /// Show the version
    #[arg(short = 'v', long, hide = true)]
    pub(crate) version: bool,
    /// Never print ANSI control characters
    #[arg(long, hide = true)]
    pub(crate) no_ansi: bool,
    /// Old name of --project-directory
    #[arg(long, hide = true, conflicts_with = "project_directory")]
    pub(crate) workdir: Option<PathBuf>,
    /// Use a registry without TLS
    #[arg(long, hide = true)]
    pub(crate) insecure_registry: Vec<String>,
}

/// The docker command line's own flags, which it passes on to its plugins.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DockerArgs {
    /// Read the docker command line's settings from this directory
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) config: Option<PathBuf>,
    /// Log which files are read and which engine answers
    #[arg(short = 'D', long, hide = true)]
    pub(crate) debug: bool,
    /// Choose what is logged: warnings from `warn` on, less with `error`, more with `debug`
    #[arg(short = 'l', long, value_name = "LEVEL", hide = true)]
    pub(crate) log_level: Option<String>,
    /// Speak TLS
    #[arg(long, hide = true)]
    pub(crate) tls: bool,
    /// Speak TLS, and verify the engine
    #[arg(long, hide = true)]
    pub(crate) tlsverify: bool,
    /// Trust this authority
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) tlscacert: Option<PathBuf>,
    /// Show this certificate
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) tlscert: Option<PathBuf>,
    /// The certificate's key
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) tlskey: Option<PathBuf>,
}
