//! `secret`: the store of external secrets of the built-in engine.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::lines;
use hoist::runtime::layout::Layout;
use hoist::runtime::secret::SecretStore;

/// Arguments of `secret`.
#[derive(Debug, Args)]
pub(super) struct SecretArgs {
    #[command(subcommand)]
    action: SecretAction,
}

#[derive(Debug, Subcommand)]
enum SecretAction {
    /// Put a secret into the store
    Create {
        /// Give a secret that exists a new value
        #[arg(long)]
        replace: bool,
        /// Its name: services use it with `external: true`
        name: String,
        /// The file with its value, or - for standard input
        file: PathBuf,
    },
    /// List secrets
    Ls,
    /// Remove secrets
    Rm {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Works on the store.
pub(super) async fn cmd_secret(ui: &Ui, context: &Context, args: &SecretArgs) -> CommandResult {
    let store = secret_store(context);
    match &args.action {
        SecretAction::Create {
            replace,
            name,
            file,
        } => {
            let value = read(file)?;
            store
                .create(name, &value, *replace)
                .map_err(CommandError::user)?;
            ui.print(format_args!("{name}\n"))?;
        }
        SecretAction::Ls => ui.print(lines(store.names().map_err(CommandError::user)?))?,
        SecretAction::Rm { names } => {
            for name in names {
                store.remove(name).map_err(CommandError::user)?;
                ui.print(format_args!("{name}\n"))?;
            }
        }
    }
    Ok(ExitStatus::SUCCESS)
}

/// The store that this process uses.
pub(crate) fn secret_store(context: &Context) -> SecretStore {
    let key = context.variable("HOIST_SECRET_KEY_FILE");
    SecretStore::new(&Layout::of_process(), key)
}

fn read(file: &Path) -> Result<Vec<u8>, CommandError> {
    let mut value = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut value)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut value))
    };
    read.map_err(|error| CommandError::user(format!("cannot read `{}`: {error}", file.display())))?;
    Ok(value)
}
