//! The flags of `up` that decide what is done, and what they mean to a plan. `up` does it, `plan` shows it.

use std::time::Duration;

use clap::Args;

use hoist::load::Dependencies;
use hoist::model::Project;
use hoist::plan::{AnonymousVolumes, Goal, PlanOptions, Recreate};

use crate::cli::create::{ImageArgs, load, orphan_policy, scale, scaled, volume_change};
use crate::cli::reconcile::{Answers, Session};
use crate::cli::{CommandError, Context};
use crate::ui::Ui;

/// Arguments that change what a project is brought to.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(crate) struct Wishes {
    /// Recreate what the named services need, even if nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,
    /// Recreate containers even if nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,
    #[command(flatten)]
    pub(super) images: ImageArgs,
    /// Take the data of volumes whose configuration changed along, instead of asking whether it may go
    #[arg(long)]
    migrate_volumes: bool,
    /// Leave services alone that the named ones need
    #[arg(long)]
    no_deps: bool,
    /// Leave containers that exist as they are
    #[arg(long, conflicts_with = "renew_anon_volumes")]
    no_recreate: bool,
    /// Make the containers without starting them
    #[arg(long)]
    pub(super) no_start: bool,
    /// Remove containers of services that are not in the files
    #[arg(long)]
    remove_orphans: bool,
    /// Give new containers new anonymous volumes
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Wanted number of containers, SERVICE=NUM
    #[arg(long, value_name = "SERVICE=NUM")]
    scale: Vec<String>,
    /// Seconds between the stop signal and SIGKILL
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(super) timeout: Option<i64>,
    /// Wait until services run or are healthy; `up` then returns
    #[arg(long)]
    pub(super) wait: bool,
    /// Answer every question with yes
    #[arg(short, long, alias = "y")]
    yes: bool,
    /// Services to bring up
    #[arg(value_name = "SERVICE")]
    pub(super) services: Vec<String>,
}

impl Wishes {
    /// Loads the named services, with what they need.
    pub(crate) async fn load(&self, ui: &Ui, context: &Context) -> Result<Project, CommandError> {
        let dependencies = if self.no_deps {
            Dependencies::Ignore
        } else {
            Dependencies::Include
        };
        load(ui, context, &self.services, dependencies).await
    }

    /// Puts the wanted numbers of containers into the model.
    pub(crate) fn scale(&self, project: &mut Project) -> Result<(), CommandError> {
        scale(project, &self.scale)
    }

    /// What questions are answered with.
    pub(crate) fn answers(&self) -> Answers {
        Answers::from_flag(self.yes)
    }

    /// The options about images.
    pub(crate) fn images(&self) -> &ImageArgs {
        &self.images
    }

    /// The options of the plan; `limit` is how long it may wait for what others depend on.
    pub(crate) fn plan_options(
        &self,
        session: &Session<'_>,
        limit: Option<Duration>,
    ) -> Result<PlanOptions, CommandError> {
        let (recreate, option) = match (
            self.force_recreate,
            self.renew_anon_volumes,
            self.no_recreate,
        ) {
            (true, _, _) => (Recreate::Force, "--force-recreate"),
            (_, true, _) => (Recreate::Force, "--renew-anon-volumes"),
            (_, _, true) => (Recreate::Never, ""),
            (false, false, false) => (Recreate::Diverged, "--always-recreate-deps"),
        };
        let recreate_dependencies = match (self.always_recreate_deps, self.no_recreate) {
            (true, _) => Recreate::Force,
            (_, true) => Recreate::Never,
            (false, false) => Recreate::Diverged,
        };
        let goal = match (self.no_start, self.wait) {
            (true, _) => Goal::Created,
            (_, true) => Goal::Healthy,
            (false, false) => Goal::Running,
        };
        Ok(PlanOptions {
            named: self.services.clone(),
            scaled: scaled(&self.scale),
            recreate,
            recreate_dependencies,
            recreate_option: option,
            anonymous_volumes: if self.renew_anon_volumes {
                AnonymousVolumes::Renew
            } else {
                AnonymousVolumes::Inherit
            },
            volume_change: volume_change(self.migrate_volumes),
            orphans: orphan_policy(session, self.remove_orphans)?,
            goal,
            timeout: self.timeout,
            wait_timeout_millis: limit
                .filter(|_| !self.wait)
                .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            ..session.plan_options()
        })
    }
}
