//! `config`: what the files come to.
//!
//! `digest` pins images to what registries have.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "JSON values that are not named are scalars, and treated alike"
)]

mod digest;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use clap::Args;
use hoist::load::{self, Dependencies, EnvFiles, LoadRequest, Loaded, LoadedTree, Phase, Variable};
use hoist::model::{self, Project, Service};
use hoist::runtime::sys::memory;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::{MinimumWidth, Table};
use crate::ui::yaml::{self, Dollars, Notes};

/// Arguments of `config`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct ConfigArgs {
    /// Print where each value comes from, as comments
    #[arg(long)]
    annotate: bool,
    /// Print the environment that variables are taken from
    #[arg(long)]
    environment: bool,
    /// Print how a value came to be: files, lines, variables
    #[arg(long, value_name = "PATH")]
    explain: Option<String>,
    /// Choose the format: yaml or json; with --quiet, mistakes are told as JSON
    #[arg(long)]
    format: Option<String>,
    /// Print the configuration hash of these services, or of all with `*`
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Print the image names, one per line
    #[arg(long)]
    images: bool,
    /// Print an override file that pins the images to digests
    #[arg(long)]
    lock_image_digests: bool,
    /// Print the model names, one per line
    #[arg(long)]
    models: bool,
    /// Print the network names, one per line
    #[arg(long)]
    networks: bool,
    /// Do not check that services and resources agree
    #[arg(long)]
    no_consistency: bool,
    /// Do not read the env files of services
    #[arg(long)]
    no_env_resolution: bool,
    /// Do not substitute variables
    #[arg(long)]
    no_interpolate: bool,
    /// Do not add what the files imply
    #[arg(long)]
    no_normalize: bool,
    /// Do not make paths absolute
    #[arg(long)]
    no_path_resolution: bool,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    /// Print the profile names, one per line
    #[arg(long)]
    profiles: bool,
    /// Only check, print nothing
    #[arg(short, long)]
    quiet: bool,
    /// Pin the tags of images to digests, as registries have them now
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print the service names, one per line
    #[arg(long)]
    services: bool,
    /// Print the variables and their defaults
    #[arg(long)]
    variables: bool,
    /// Print the volume names, one per line
    #[arg(long)]
    volumes: bool,
    /// Services to print, with what they depend on
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Services,
    Volumes,
    Networks,
    Models,
    Hash,
    Profiles,
    Images,
    Variables,
    Environment,
    Explanation,
    Project,
}

impl ConfigArgs {
    /// Whether mistakes are told as JSON: where only a check is asked for, the format has nothing else to say.
    pub(super) fn tells_json(&self) -> bool {
        self.quiet && self.format.as_deref() == Some("json")
    }

    fn pins_images(&self) -> bool {
        self.resolve_image_digests || self.lock_image_digests
    }

    /// Where several are asked for, docker compose's order decides.
    fn wish(&self) -> Wish {
        let wishes = [
            (self.services, Wish::Services),
            (self.volumes, Wish::Volumes),
            (self.networks, Wish::Networks),
            (self.models, Wish::Models),
            (self.hash.is_some(), Wish::Hash),
            (self.profiles, Wish::Profiles),
            (self.images, Wish::Images),
            (self.variables, Wish::Variables),
            (self.environment, Wish::Environment),
            (self.explain.is_some(), Wish::Explanation),
        ];
        let found = wishes.into_iter().find(|(asked, _)| *asked);
        found.map_or(Wish::Project, |(_, wish)| wish)
    }

    fn skipped(&self, context: &Context) -> Vec<Phase> {
        [
            (self.no_interpolate, Phase::Interpolation),
            (
                self.no_normalize || context.is_compatible(),
                Phase::Normalization,
            ),
            (self.no_path_resolution, Phase::PathResolution),
            (self.no_consistency, Phase::Consistency),
            (self.no_env_resolution, Phase::EnvironmentResolution),
        ]
        .into_iter()
        .filter(|(skipped, _)| *skipped)
        .map(|(_, phase)| phase)
        .collect()
    }
}

/// Prints the configuration, or a part of it.
pub(super) async fn cmd_config(ui: &Ui, context: &Context, args: &ConfigArgs) -> CommandResult {
    memory::prefer_large_pages();
    let request = LoadRequest {
        skip: args.skipped(context),
        env_files_of: EnvFiles::All,
        ..context.load_request()
    };
    let text = match args.wish() {
        Wish::Project => project_text(ui, context, args, request).await?,
        Wish::Services if args.no_interpolate => {
            let tree = load_tree(ui, request)?;
            let services = tree.tree.get("services").and_then(load::Node::as_map);
            lines(services.into_iter().flat_map(load::Tree::keys))
        }
        Wish::Explanation => explanation_text(ui, args, request)?,
        Wish::Variables => variables_text(ui, args, request)?,
        Wish::Hash => hash_text(ui, context, args, request).await?,
        wish => part_text(wish, ui, context, args, request).await?,
    };
    if args.quiet {
        return Ok(ExitStatus::SUCCESS);
    }
    match &args.output {
        Some(file) if args.wish() == Wish::Project => std::fs::write(file, text)?,
        _ => ui.print(text)?,
    }
    Ok(ExitStatus::SUCCESS)
}

fn lines<T: std::fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().fold(String::new(), |mut text, value| {
        writeln!(text, "{value}").expect("writing to a string never fails");
        text
    })
}

async fn project_text(
    ui: &Ui,
    context: &Context,
    args: &ConfigArgs,
    request: LoadRequest,
) -> Result<String, CommandError> {
    let format = args.format.as_deref().unwrap_or("yaml");
    if !matches!(format, "yaml" | "json") {
        return Err(CommandError::user(format!(
            "unsupported format \"{format}\""
        )));
    }
    if args.no_interpolate {
        if !args.names.is_empty() {
            ui.warn("service filtering is not applied when --no-interpolate is set, the full model will be rendered");
        }
        let tree = load_tree(ui, request)?;
        let mut value = sorted(load::to_json(&tree.tree));
        if args.pins_images() {
            let places = |path: &str, words: &str| tree.label(path, words);
            digest::resolve_tree(context, &mut value, &places).await?;
        }
        if args.lock_image_digests {
            digest::only_images_of_tree(ui, &mut value);
        }
        if format == "json" {
            return Ok(model::to_json(&value));
        }
        let notes = Notes {
            comments: None,
            times: load::times(&tree.tree),
        };
        return yaml_text(&value, notes, Dollars::Kept);
    }
    let request = LoadRequest {
        services: args.names.clone(),
        ..request
    };
    let mut loaded = load_files(ui, request)?;
    if args.pins_images() {
        let places = |path: &str, words: &str| loaded.origins.label(path, words);
        digest::resolve_project(context, &mut loaded.project, &places).await?;
    }
    if args.lock_image_digests {
        loaded.project = digest::only_images(ui, &loaded.project);
    }
    let text = if format == "json" {
        model::to_json(&json_value(&loaded.project)?).replace('$', "$$")
    } else {
        let place = |path: &[String]| loaded.origins.line_of(path, context.current_dir());
        let notes = Notes {
            comments: args.annotate.then_some(&place),
            times: loaded.origins.times(),
        };
        model::as_yaml(|| yaml_text(&loaded.project, notes, Dollars::Doubled))?
    };
    // The process ends after this: to free every value of a large project one by one is lost time.
    std::mem::forget(loaded);
    Ok(text)
}

fn yaml_text(
    value: &impl serde::Serialize,
    notes: Notes<'_>,
    dollars: Dollars,
) -> Result<String, CommandError> {
    yaml::document(value, notes, dollars).map_err(CommandError::system)
}

fn explanation_text(
    ui: &Ui,
    args: &ConfigArgs,
    request: LoadRequest,
) -> Result<String, CommandError> {
    let path = args.explain.as_deref().unwrap_or_default();
    let loaded = load_files(ui, request)?;
    let steps = loaded.origins.explain(path);
    let steps = steps.ok_or_else(|| {
        let error = CommandError::user(format!("nothing is set at `{path}`"));
        match loaded.origins.nearest(path) {
            Some(near) => error.hinted(format!("did you mean `{near}`?")),
            None => error,
        }
    })?;
    Ok(lines(steps.iter().map(|step| match step.place.as_str() {
        "" => format!("  {}", step.text),
        place => format!("{place}: {}", step.text),
    })))
}

/// The JSON of docker compose: the keys of the top level are sorted, and AI models are not in it.
fn json_value(project: &Project) -> Result<Value, CommandError> {
    let value = serde_json::to_value(project).map_err(CommandError::system)?;
    Ok(match value {
        Value::Object(mut map) => {
            map.shift_remove("models");
            Value::Object(sort(map))
        }
        other => other,
    })
}

fn sort(map: Map<String, Value>) -> Map<String, Value> {
    let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    pairs.into_iter().collect()
}

/// Sorts the keys of every level.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map = map.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(sort(map.collect()))
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

async fn part_text(
    wish: Wish,
    ui: &Ui,
    context: &Context,
    args: &ConfigArgs,
    mut request: LoadRequest,
) -> Result<String, CommandError> {
    if matches!(
        wish,
        Wish::Services | Wish::Volumes | Wish::Networks | Wish::Models
    ) {
        request.skip.push(Phase::EnvironmentResolution);
    } else {
        request.services.clone_from(&args.names);
    }
    let project = context.load(ui, request).await?;
    Ok(match wish {
        Wish::Services => lines(project.services.keys()),
        Wish::Volumes => lines(project.volumes.keys()),
        Wish::Networks => lines(project.networks.keys()),
        Wish::Models => lines(
            project
                .models
                .values()
                .map(|model| &model.model)
                .filter(|name| !name.is_empty()),
        ),
        Wish::Profiles => {
            let services = project
                .services
                .values()
                .chain(project.disabled_services.values());
            let profiles: BTreeSet<&String> =
                services.flat_map(|service| &service.profiles).collect();
            lines(profiles)
        }
        Wish::Images => images_text(&project),
        Wish::Environment => {
            let mut variables: Vec<String> = project
                .environment
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            variables.sort();
            lines(variables)
        }
        Wish::Hash | Wish::Variables | Wish::Explanation | Wish::Project => String::new(),
    })
}

fn images_text(project: &Project) -> String {
    let mut images = Vec::new();
    for (name, service) in &project.services {
        let default = format!("{}-{name}", project.name);
        images.push(if service.image.is_empty() {
            default
        } else {
            service.image.clone()
        });
        let hooks = service.pre_start.iter().map(|hook| &hook.image);
        let more = hooks.filter(|image| !image.is_empty() && **image != service.image);
        images.extend(more.cloned());
    }
    lines(images)
}

async fn hash_text(
    ui: &Ui,
    context: &Context,
    args: &ConfigArgs,
    mut request: LoadRequest,
) -> Result<String, CommandError> {
    let names = args.hash.as_deref().unwrap_or("*");
    if names != "*" {
        request.services = names.split(',').map(str::to_owned).collect();
        request.dependencies = Dependencies::Ignore;
        request.env_files_of = EnvFiles::Selected;
    }
    let project = context.load(ui, request).await?;
    let hash =
        |(name, service): (&String, &Service)| format!("{name} {}", model::config_hash(service));
    Ok(lines(project.services.iter().map(hash)))
}

fn with_stdin(mut request: LoadRequest) -> Result<LoadRequest, CommandError> {
    if load::reads_stdin(&request) {
        let text = load::text_from(std::io::stdin().lock());
        let failed = |error| CommandError::user(format!("cannot read standard input: {error}"));
        request.stdin = Some(text.map_err(failed)?);
    }
    Ok(request)
}

fn load_files(ui: &Ui, request: LoadRequest) -> Result<Loaded, CommandError> {
    let loaded = load::load(&with_stdin(request)?)?;
    ui.files_read(&loaded.project.compose_files);
    ui.file_warnings(&loaded.warnings);
    Ok(loaded)
}

fn load_tree(ui: &Ui, request: LoadRequest) -> Result<LoadedTree, CommandError> {
    let loaded = load::load_tree(&with_stdin(request)?)?;
    ui.file_warnings(&loaded.warnings);
    Ok(loaded)
}

fn variables_text(
    ui: &Ui,
    args: &ConfigArgs,
    mut request: LoadRequest,
) -> Result<String, CommandError> {
    if !args.names.is_empty() {
        ui.warn("service filtering is not applied when --variables is set, variables from the full model will be rendered");
    }
    request.skip.extend([Phase::Interpolation, Phase::Shape]);
    let tree = load_tree(ui, request)?;
    // Of a variable that stands there in several ways the last is shown.
    let variables: BTreeMap<&str, &Variable> = tree
        .variables
        .iter()
        .map(|variable| (variable.name.as_str(), variable))
        .collect();
    let rows: Map<String, Value> = variables
        .values()
        .map(|variable| {
            let row = serde_json::json!({
                "Name": variable.name, "DefaultValue": variable.default_value,
                "PresenceValue": variable.alternate_value, "Required": variable.required,
            });
            (variable.name.clone(), row)
        })
        .collect();
    match args.format.as_deref() {
        Some("json") => variables_json(&rows),
        Some("yaml") => variables_yaml(rows),
        _ => {
            let mut table = Table::new(
                MinimumWidth::Twenty,
                ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"],
            );
            for variable in variables.values() {
                let required = variable.required.to_string();
                table.row([
                    &variable.name,
                    &required,
                    &variable.default_value,
                    &variable.alternate_value,
                ]);
            }
            Ok(table.to_string())
        }
    }
}

/// docker compose indents this JSON by four spaces, and ends it with an empty line.
fn variables_json(rows: &Map<String, Value>) -> Result<String, CommandError> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    rows.serialize(&mut serializer)
        .map_err(CommandError::system)?;
    text.extend(b"\n\n");
    String::from_utf8(text).map_err(CommandError::system)
}

/// docker compose writes the fields of variables in lower case in YAML, and indents them by four spaces.
fn variables_yaml(rows: Map<String, Value>) -> Result<String, CommandError> {
    let mut text = String::new();
    for (name, row) in rows {
        let Value::Object(fields) = row else { continue };
        text.push_str(&name);
        text.push_str(":\n");
        for (key, value) in fields {
            // One by one: as a map they would be sorted, and docker compose keeps the order of its fields.
            let field = Map::from_iter([(key.to_lowercase(), value)]);
            for line in yaml_text(&field, Notes::default(), Dollars::Kept)?.lines() {
                text.push_str("    ");
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    Ok(text)
}
