//! RUN: a container on the layers so far, whose changes become the next layer.

use std::path::{Path, PathBuf};

use super::cache::KeyMaker;
use super::command::{CommandLine, command_line};
use super::files::{Changes, within};
use super::layer::{LayerSpace, write_file};
use super::mount::{MountAccess, MountFlag, MountFlagKind, Ready};
use super::origin::Origin;
use super::parse::Instruction;
use super::remembered::Stamp;
use super::worker::Worker;
use super::{BuildError, BuildEvent, Entitlement, Network, RunStep, Security};
use crate::runtime::image::Digest;

/// Paths that the set-up of a container may make.
const MOUNT_POINTS: [&str; 7] = [
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "dev",
    "proc",
    "sys",
    "run/hoist-build",
];
/// Bytes of output that an error repeats.
const TAIL: usize = 2000;

/// A RUN line with everything expanded.
struct Plan {
    line: CommandLine,
    mounts: Vec<(MountFlag, Option<Origin>)>,
    network: Network,
    security: Security,
    args: Vec<String>,
}

impl Worker<'_> {
    /// Does a RUN.
    pub(super) fn run(&mut self, step: &Instruction) -> Result<(), BuildError> {
        let plan = self.run_plan(step)?;
        let created_by = history_line(&plan);
        let mut key = self.key(&created_by);
        let stamp = self.stamp(&plan)?;
        self.add_to_key(&mut key, step, &plan)?;
        self.finish(key, &created_by, |worker| {
            let layer = worker.run_layer(step, &plan, &stamp)?;
            Ok((worker.state.config(), Some(layer)))
        })
    }

    fn run_plan(&self, step: &Instruction) -> Result<Plan, BuildError> {
        let config = self.state.config();
        let mut mounts = Vec::new();
        for text in step.flag_values("mount") {
            let mut flag =
                MountFlag::parse(&self.word(text, step)?).map_err(|message| step.error(message))?;
            if !flag.target.is_empty() {
                let target = self.in_image(&flag.target);
                flag.target = format!("/{}", target.display());
            }
            let has_files = flag.kind == MountFlagKind::Bind || flag.from.is_some();
            let origin = has_files
                .then(|| self.origin(flag.from.as_deref()))
                .transpose()?;
            mounts.push((flag, origin));
        }
        let network = match step.flag("network") {
            None => self.shared.request.network.clone(),
            Some("default") => Network::Default,
            Some("none") => Network::None,
            Some("host") => {
                self.check_entitled(step, Entitlement::HostNetwork)?;
                Network::Host
            }
            Some(other) => return Err(step.error(format!("invalid network mode: {other}"))),
        };
        let security = match step.flag("security") {
            None | Some("sandbox") => Security::Sandbox,
            Some("insecure") => {
                self.check_entitled(step, Entitlement::InsecureSecurity)?;
                Security::Insecure
            }
            Some(other) => return Err(step.error(format!("security {other} is not valid"))),
        };
        Ok(Plan {
            line: command_line(step, &config),
            mounts,
            network,
            security,
            args: self.state.scope.visible(&config),
        })
    }

    fn check_entitled(&self, step: &Instruction, what: Entitlement) -> Result<(), BuildError> {
        if self.shared.request.entitlements.allow(what) {
            return Ok(());
        }
        let name = what.name();
        Err(step.error(format!(
            "{name} is not allowed: the build needs the entitlement `{name}`"
        )))
    }

    fn add_to_key(
        &self,
        key: &mut KeyMaker,
        step: &Instruction,
        plan: &Plan,
    ) -> Result<(), BuildError> {
        for part in plan.line.argv.iter().chain(&plan.args) {
            key.add(part.as_bytes());
        }
        if let Some(script) = &plan.line.script {
            key.add(script.text.as_bytes());
        }
        for flag in step.flags.iter().filter_map(|flag| flag.value.as_deref()) {
            key.add(flag.as_bytes());
        }
        for (flag, origin) in &plan.mounts {
            if let Some(origin) = origin.as_ref().filter(|_| flag.kind == MountFlagKind::Bind) {
                let (paths, changes) = ([within(&flag.source)], Changes::default());
                let stamp = self.stamp_of(origin, &paths, &changes)?;
                key.add(&self.sum_of(origin, &paths, &changes, &stamp)?);
            }
        }
        Ok(())
    }

    /// What changes with the files of the context that the step mounts.
    fn stamp(&self, plan: &Plan) -> Result<Stamp, BuildError> {
        let mut stamp = Stamp::default();
        for (flag, origin) in &plan.mounts {
            if let Some(origin) = origin.as_ref().filter(|_| flag.kind == MountFlagKind::Bind) {
                let paths = [within(&flag.source)];
                stamp.extend(&self.stamp_of(origin, &paths, &Changes::default())?);
            }
        }
        Ok(stamp)
    }

    fn run_layer(
        &self,
        step: &Instruction,
        plan: &Plan,
        stamp: &Stamp,
    ) -> Result<Digest, BuildError> {
        let below = &self.state.file.rootfs.diff_ids;
        let space = LayerSpace::new(self.shared.store, below)?;
        let ready = self.ready(plan, space.scratch())?;
        if self.stamp(plan)? != *stamp {
            return Err(BuildError::Changed);
        }
        let request = self.run_step(plan, &space, &ready)?;
        self.shared.tell(BuildEvent::Running {
            stage: self.index,
            container: request.id.clone(),
        });
        let mut tail = Tail::default();
        let code = self.shared.host.run(&request, &mut |stream, bytes| {
            tail.push(bytes);
            self.shared.tell(BuildEvent::Output {
                stage: self.index,
                stream,
                text: String::from_utf8_lossy(bytes).into_owned(),
            });
        })?;
        if code != 0 {
            return Err(BuildError::Exit {
                command: plan.line.argv.join(" "),
                code,
                line: step.line,
                output: tail.text(),
            });
        }
        let targets = ready.mounts.iter().map(|mount| mount.target.as_str());
        let points: Vec<PathBuf> = targets.chain(MOUNT_POINTS).map(within).collect();
        space.remove_mount_points(&points)?;
        drop(ready);
        space.keep(self.shared, below)
    }

    fn run_step(
        &self,
        plan: &Plan,
        space: &LayerSpace,
        ready: &Ready,
    ) -> Result<RunStep, BuildError> {
        let request = self.shared.request;
        let mut env = self.state.environment();
        let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        let hidden: Vec<String> = plan.args.iter().map(|pair| name_of(pair)).collect();
        env.retain(|pair| !hidden.contains(&name_of(pair)));
        env.extend(plan.args.iter().cloned());
        env.extend(self.shared.globals.proxies());
        env.extend(ready.env.iter().cloned());
        Ok(RunStep {
            id: random_id()?,
            argv: plan.line.argv.clone(),
            config: self.state.config(),
            env,
            lower: space.lower().to_vec(),
            upper: space.upper(),
            work: space.work(),
            mounts: ready.mounts.clone(),
            network: plan.network.clone(),
            security: plan.security,
            extra_hosts: request.extra_hosts.clone(),
            shm_size: request.shm_size,
            ulimits: request.ulimits.clone(),
            scratch: space.scratch().to_owned(),
        })
    }

    fn ready(&self, plan: &Plan, scratch: &Path) -> Result<Ready, BuildError> {
        let mut ready = Ready::default();
        for (flag, origin) in &plan.mounts {
            match flag.kind {
                MountFlagKind::Tmpfs => ready.add_memory(flag),
                MountFlagKind::Secret => {
                    ready.add_secret(flag, self.shared.request.secrets.get(&flag.id), scratch)?;
                }
                MountFlagKind::Ssh => {
                    ready.add_agent(flag, self.shared.request.ssh.get(&flag.id))?;
                }
                MountFlagKind::Bind => {
                    if let Some(origin) = origin {
                        let path = within(&flag.source);
                        let host = match flag.access {
                            MountAccess::ReadOnly => self.exposed(origin, &path, scratch)?,
                            // What the step writes is thrown away.
                            MountAccess::ReadWrite => self.copied(origin, &path, scratch)?,
                        };
                        ready.add_path(&flag.target, host, flag.access);
                    }
                }
                MountFlagKind::Cache => {
                    let new = ready.add_cache(flag, self.shared.root, scratch)?;
                    if let (Some(directory), Some(origin)) = (new, origin) {
                        self.fill(origin, &within(&flag.source), &directory)?;
                    }
                }
            }
        }
        if let Some(script) = &plan.line.script {
            let path = write_file(scratch, "script", script.text.as_bytes(), 0o755)?;
            ready.add_path(&script.path, path, MountAccess::ReadOnly);
        }
        Ok(ready)
    }

    /// Fills a new cache directory.
    fn fill(&self, origin: &Origin, path: &Path, directory: &Path) -> Result<(), BuildError> {
        let source = self.open(origin, directory)?;
        let target = crate::runtime::archive::Root::open(directory)?;
        let changes = Changes::default();
        let copier = super::copier::Copier {
            source: &source,
            target: &target,
            changes: &changes,
        };
        copier.copy(path, Path::new(""), super::copier::Shape::Directory)
    }
}

/// The history's line: the arguments that the step sees, and what it runs.
fn history_line(plan: &Plan) -> String {
    let command = plan
        .line
        .script
        .as_ref()
        .map_or_else(|| plan.line.argv.join(" "), |script| script.text.clone());
    if plan.args.is_empty() {
        return format!("RUN {command}");
    }
    format!("RUN |{} {} {command}", plan.args.len(), plan.args.join(" "))
}

/// The end of what a step printed.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * TAIL {
            self.0.drain(..self.0.len() - TAIL);
        }
    }

    fn text(&self) -> String {
        let from = self.0.len().saturating_sub(TAIL);
        String::from_utf8_lossy(&self.0[from..]).into_owned()
    }
}

/// 64 random hexadecimal digits.
fn random_id() -> Result<String, BuildError> {
    let mut bytes = [0; 32];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    filled.map_err(super::files::failed(
        "get random bytes for",
        Path::new("a container's id"),
    ))?;
    Ok(hex::encode(bytes))
}
