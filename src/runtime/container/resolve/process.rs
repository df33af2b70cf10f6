//! What runs: program, environment, user.

use bollard_stubs::models::ExecConfig;

use super::{ResolveError, ResolveInput, limit, namespace, security};
use crate::runtime::container::capability;
use crate::runtime::container::request::{Init, Process, Seccomp, TerminalSize};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The first process of a container.
pub(super) fn first(
    input: &ResolveInput<'_>,
    warnings: &mut Vec<String>,
) -> Result<Process, ResolveError> {
    let (config, host) = (input.config, input.host_config);
    let image = input.image;
    let terminal = (config.tty == Some(true)).then(|| console_size(host.console_size.as_deref()));
    let user = config
        .user
        .clone()
        .filter(|user| !user.is_empty())
        .or_else(|| image.and_then(|image| image.user.clone()));
    let cwd = config.working_dir.clone().filter(|path| !path.is_empty());
    let cwd = cwd.or_else(|| {
        image
            .and_then(|image| image.working_dir.clone())
            .filter(|path| !path.is_empty())
    });
    let security = security::options(host, warnings)?;
    Ok(Process {
        argv: argv(input)?,
        env: environment(input, terminal),
        cwd: absolute(&cwd.unwrap_or_else(|| "/".into())),
        user: user.unwrap_or_default(),
        group_add: host.group_add.clone().unwrap_or_default(),
        capabilities: security.capabilities,
        privileges: security.privileges,
        seccomp: security.seccomp,
        rlimits: limit::rlimits(host)?,
        oom_score_adj: host
            .oom_score_adj
            .map(|score| i32::try_from(score.clamp(-1000, 1000)).unwrap_or(0)),
        apparmor: security.apparmor,
        selinux: security.selinux,
        init: if host.init == Some(true) {
            Init::Own
        } else {
            Init::Program
        },
        terminal,
    })
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

fn console_size(size: Option<&[usize]>) -> TerminalSize {
    let number = |index: usize| {
        size.and_then(|size| size.get(index))
            .and_then(|&number| u16::try_from(number).ok())
            .unwrap_or(0)
    };
    TerminalSize {
        rows: number(0),
        columns: number(1),
    }
}

/// The client's entrypoint hides the image's command.
fn argv(input: &ResolveInput<'_>) -> Result<Vec<String>, ResolveError> {
    let config = input.config;
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let image_entrypoint = input
        .image
        .map(|image| list(&image.entrypoint))
        .unwrap_or_default();
    let image_command = input
        .image
        .map(|image| list(&image.cmd))
        .unwrap_or_default();
    let own = list(&config.cmd);
    let (entrypoint, command) = match &config.entrypoint {
        // A single empty word clears the image's entrypoint.
        Some(entrypoint) if entrypoint.len() == 1 && entrypoint.iter().all(String::is_empty) => {
            (Vec::new(), own)
        }
        Some(entrypoint) if !entrypoint.is_empty() => (entrypoint.clone(), own),
        _ if own.is_empty() => (image_entrypoint, image_command),
        _ => (image_entrypoint, own),
    };
    let argv: Vec<String> = entrypoint.into_iter().chain(command).collect();
    if argv.is_empty() {
        Err(ResolveError::NoCommand)
    } else {
        Ok(argv)
    }
}

/// Docker's own variables, then the image's, then the client's; a name without a value removes.
fn environment(input: &ResolveInput<'_>, terminal: Option<TerminalSize>) -> Vec<String> {
    let mut env = vec![PATH.to_owned()];
    if let Some(name) = namespace::visible_hostname(input) {
        env.push(format!("HOSTNAME={name}"));
    }
    if terminal.is_some() {
        env.push("TERM=xterm".to_owned());
    }
    let image = input
        .image
        .and_then(|image| image.env.as_ref())
        .into_iter()
        .flatten();
    let own = input.config.env.iter().flatten();
    overlay(&mut env, image.chain(own));
    env
}

pub(super) fn overlay<'a>(env: &mut Vec<String>, entries: impl Iterator<Item = &'a String>) {
    for entry in entries {
        let name = entry.split('=').next().unwrap_or_default();
        let same = |known: &String| known.split('=').next() == Some(name);
        match env.iter().position(same) {
            Some(index) if entry.contains('=') => env[index].clone_from(entry),
            Some(index) => drop(env.remove(index)),
            None if entry.contains('=') => env.push(entry.clone()),
            None => {}
        }
    }
}

/// A further process, with what the container's first one has as its default.
pub(super) fn further(exec: &ExecConfig, container: &Process) -> Result<Process, ResolveError> {
    let argv = exec
        .cmd
        .clone()
        .filter(|argv| !argv.is_empty())
        .ok_or(ResolveError::NoExecCommand)?;
    let terminal = (exec.tty == Some(true)).then(|| console_size(exec.console_size.as_deref()));
    let mut env = container.env.clone();
    if terminal.is_some() && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    overlay(&mut env, exec.env.iter().flatten());
    let privileged = exec.privileged == Some(true);
    let user = exec.user.clone().filter(|user| !user.is_empty());
    let cwd = exec.working_dir.clone().filter(|path| !path.is_empty());
    Ok(Process {
        argv,
        env,
        cwd: cwd.map_or_else(|| container.cwd.clone(), |path| absolute(&path)),
        user: user.unwrap_or_else(|| container.user.clone()),
        capabilities: if privileged {
            capability::available()
        } else {
            container.capabilities
        },
        seccomp: if privileged {
            Seccomp::Unconfined
        } else {
            container.seccomp.clone()
        },
        apparmor: container.apparmor.clone().filter(|_| !privileged),
        init: Init::Program,
        terminal,
        ..container.clone()
    })
}
