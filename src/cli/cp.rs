//! `cp`: copies files between containers of a service and this machine.
//!
//! ```text
//! to a container:    local path --archive--> tar --> upload into the directory
//! from a container:  download --> tar --unpack--> local path
//! ```

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use futures_util::StreamExt;
use futures_util::future::try_join_all;

use crate::cli::archive::{self, Links};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::{StepState, Ui};
use hoist::engine::Engine;
use hoist::engine::member::{Member, OneOffs, Stopped, members};

/// Arguments of `cp`.
#[derive(Debug, Args)]
pub(super) struct CpArgs {
    /// Include containers made by `run`
    #[arg(long)]
    all: bool,
    /// Keep owner and group
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link points at
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Choose this replica of the service
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// SERVICE:PATH, a local path, or - for a tar on standard input
    source: String,
    /// SERVICE:PATH, a local path, or - for a tar on standard output
    destination: String,
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    Local(&'a str),
    Service { name: &'a str, path: &'a str },
}

/// Copies.
pub(super) async fn cmd_cp(ui: &Ui, context: &Context, args: &CpArgs) -> CommandResult {
    match (side(&args.source), side(&args.destination)) {
        (Side::Local(source), Side::Service { name, path }) => {
            let (engine, found) = find(ui, context, args, name).await?;
            upload(ui, &engine, args, &found, source, path).await?;
        }
        (Side::Service { name, path }, Side::Local(destination)) => {
            let (engine, found) = find(ui, context, args, name).await?;
            // Replicas are alike: the first one is read.
            let member = found.first().expect("find answers at least one");
            download(ui, engine.as_ref(), args, member, path, destination).await?;
        }
        (Side::Service { .. }, Side::Service { .. }) => {
            return Err(CommandError::user(
                "copying between services is not supported",
            ));
        }
        (Side::Local(_), Side::Local(_)) => {
            return Err(CommandError::user("unknown copy direction"));
        }
    }
    Ok(ExitStatus::SUCCESS)
}

/// `SERVICE:PATH`, unless it is a path that begins like one.
fn side(text: &str) -> Side<'_> {
    if text.starts_with(['/', '.']) {
        return Side::Local(text);
    }
    match text.split_once(':') {
        Some((name, path)) if !name.is_empty() && !name.contains('/') => {
            Side::Service { name, path }
        }
        _ => Side::Local(text),
    }
}

async fn find(
    ui: &Ui,
    context: &Context,
    args: &CpArgs,
    service: &str,
) -> Result<(Arc<dyn Engine>, Vec<Member>), CommandError> {
    let project = context.project_name(ui).await?;
    let engine = context.engine().await?;
    let one_offs = if args.all {
        OneOffs::Include
    } else {
        OneOffs::Exclude
    };
    let mut found = members(engine.as_ref(), &project, one_offs, Stopped::Include).await?;
    found.retain(|member| {
        member.service() == service && (args.index == 0 || member.number() == Some(args.index))
    });
    found.sort_by_key(|member| (member.is_one_off(), member.number()));
    match (found.is_empty(), args.index) {
        (false, _) => Ok((engine, found)),
        (true, 0) => Err(CommandError::user(format!(
            "no container found for service {service:?}"
        ))),
        (true, index) => Err(CommandError::user(format!(
            "service {service:?} is not running container #{index}"
        ))),
    }
}

async fn upload(
    ui: &Ui,
    engine: &Arc<dyn Engine>,
    args: &CpArgs,
    members: &[Member],
    source: &str,
    path: &str,
) -> Result<(), CommandError> {
    let piped = match source {
        "-" => Some(archive::read_stdin()?),
        _ => None,
    };
    let links = if args.follow_link {
        Links::Follow
    } else {
        Links::Keep
    };
    let copies = members.iter().map(async |member| {
        let what = format!("{source} to {}:{path}", member.name());
        ui.step_with(StepState::Working, member.name(), "Copying", &what);
        let (directory, tar) = if let Some(tar) = &piped {
            (path.to_owned(), tar.clone())
        } else {
            let (directory, name) = place(engine.as_ref(), member.id(), source, path).await?;
            (directory, archive::pack(Path::new(source), &name, links)?)
        };
        engine.upload(member.id(), &directory, tar).await?;
        ui.step_with(StepState::Done, member.name(), "Copied", &what);
        Ok::<_, CommandError>(())
    });
    try_join_all(copies).await?;
    Ok(())
}

/// Where a local path goes: into the directory that the path is, or under the path's own name beside its siblings.
async fn place(
    engine: &dyn Engine,
    id: &str,
    source: &str,
    path: &str,
) -> Result<(String, String), CommandError> {
    let own_name = archive::base_name(Path::new(source))?;
    let path = format!("/{}", path.trim_start_matches('/'));
    let is_directory = is_directory(engine, id, &path).await?;
    if is_directory {
        // `folder/.` means what is in the folder.
        let name = if source == "." || source.ends_with("/.") {
            String::new()
        } else {
            own_name
        };
        return Ok((path, name));
    }
    if path.ends_with('/') && !Path::new(source).is_dir() {
        return Err(CommandError::user(format!("no such directory `{path}`")));
    }
    let trimmed = path.trim_end_matches('/');
    let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    let parent = if parent.is_empty() { "/" } else { parent };
    Ok((parent.to_owned(), name.to_owned()))
}

const GO_DIRECTORY: u64 = 1 << 31;
const GO_LINK: u64 = 1 << 27;

/// Follows links, as many as a kernel would.
async fn is_directory(engine: &dyn Engine, id: &str, path: &str) -> Result<bool, CommandError> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        let Some(found) = engine.stat_path(id, &path).await? else {
            return Ok(false);
        };
        let mode = found["mode"].as_u64().unwrap_or_default();
        let target = found["linkTarget"].as_str().unwrap_or_default();
        if mode & GO_LINK == 0 || target.is_empty() {
            return Ok(mode & GO_DIRECTORY != 0);
        }
        path = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("{}/../{target}", path.trim_end_matches('/'))
        };
    }
    Ok(false)
}

async fn download(
    ui: &Ui,
    engine: &dyn Engine,
    args: &CpArgs,
    member: &Member,
    path: &str,
    destination: &str,
) -> Result<(), CommandError> {
    let what = format!("{}:{path} to {destination}", member.name());
    ui.step_with(StepState::Working, member.name(), "Copying", &what);
    let path = if args.follow_link {
        target_of(engine, member.id(), path).await?
    } else {
        path.to_owned()
    };
    let mut tar = engine.download(member.id(), &path).await?;
    let mut bytes = Vec::new();
    while let Some(part) = tar.next().await {
        let part = part?;
        if destination == "-" {
            ui.print_bytes(&part)?;
        } else {
            bytes.extend_from_slice(&part);
        }
    }
    if destination != "-" {
        let owners = if args.archive {
            archive::Owners::Keep
        } else {
            archive::Owners::Ours
        };
        archive::unpack(&bytes, &path, Path::new(destination), owners)?;
    }
    ui.step_with(StepState::Done, member.name(), "Copied", &what);
    Ok(())
}

/// What a link in a container points at.
async fn target_of(engine: &dyn Engine, id: &str, path: &str) -> Result<String, CommandError> {
    let found = engine.stat_path(id, path).await?.unwrap_or_default();
    let target = found["linkTarget"].as_str().unwrap_or_default();
    Ok(match target {
        "" => path.to_owned(),
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        relative => {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            format!("{parent}/{relative}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Side, side};

    #[test]
    fn a_service_is_told_from_a_local_path() {
        let service = Side::Service {
            name: "web",
            path: "/etc",
        };
        assert_eq!(side("web:/etc"), service);
        assert_eq!(side("./web:x"), Side::Local("./web:x"));
        assert_eq!(side("/web:x"), Side::Local("/web:x"));
        assert_eq!(side("dir/web:x"), Side::Local("dir/web:x"));
        assert_eq!(side("-"), Side::Local("-"));
    }
}
