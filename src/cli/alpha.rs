//! `alpha`: what docker compose has as experiments. `viz` draws the services for Graphviz, `publish` is the
//! command of that name; docker compose's earlier experiments say what they are now.

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use hoist::model::{Port, Project, Service};
use hoist::plan::resolve::image_name;

use crate::cli::generate::{GenerateArgs, cmd_generate};
use crate::cli::publish::{PublishArgs, cmd_publish};
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;

/// What to do instead.
const INSTEAD: &str = "`generate`, `publish` and `viz` are here, `scale` and `watch` go without `alpha`, and `--dry-run` is a \
    flag";

/// Arguments of `alpha`.
#[derive(Debug, Args)]
pub(super) struct AlphaArgs {
    #[command(subcommand)]
    command: Option<AlphaCommand>,
}

#[derive(Debug, Subcommand)]
enum AlphaCommand {
    /// Print a Compose file made of containers that exist
    Generate(GenerateArgs),
    /// Publish the project in a registry
    Publish(PublishArgs),
    /// Print a graph of the services and of what they depend on, for Graphviz
    Viz(VizArgs),
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Arguments of `alpha viz`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
struct VizArgs {
    /// Show images
    #[arg(long)]
    image: bool,
    /// Number of tabs or spaces to indent by
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    indentation_size: usize,
    /// Show networks
    #[arg(long)]
    networks: bool,
    /// Show published ports
    #[arg(long)]
    ports: bool,
    /// Indent by spaces instead of tabs
    #[arg(long)]
    spaces: bool,
}

/// Runs one of the experiments.
pub(super) async fn cmd_alpha(ui: &Ui, context: &Context, args: &AlphaArgs) -> CommandResult {
    match &args.command {
        Some(AlphaCommand::Viz(args)) => {
            let project = context.load(ui, context.load_request()).await?;
            let separator = if context.is_compatible() { '_' } else { '-' };
            ui.print(graph(&project, args, separator))?;
            Ok(ExitStatus::SUCCESS)
        }
        Some(AlphaCommand::Generate(args)) => cmd_generate(ui, context, args).await,
        Some(AlphaCommand::Publish(args)) => cmd_publish(ui, context, args).await,
        Some(AlphaCommand::Other(words)) => {
            let command = words.first().map_or("", String::as_str);
            let message = format!("unknown docker command: \"compose alpha {command}\"");
            Err(CommandError::user(message).hinted(INSTEAD))
        }
        None => Err(CommandError::user("`alpha` needs a command").hinted(INSTEAD)),
    }
}

/// The graph, in the words of docker compose.
fn graph(project: &Project, args: &VizArgs, separator: char) -> String {
    let unit = if args.spaces { " " } else { "\t" };
    let indent = unit.repeat(args.indentation_size);
    let services = || project.services.values();
    let nodes = services().map(|service| {
        let label = label(project, service, args, separator);
        let name = quoted(&service.name);
        format!("{indent}{name} [style=\"filled\" label=<{label}>];\n")
    });
    let edges = services().flat_map(|service| {
        let name = quoted(&service.name);
        let indent = &indent;
        let others = service.depends_on.keys();
        others.map(move |other| format!("{indent}{name} -> {};\n", quoted(other)))
    });
    let (nodes, edges): (String, String) = (nodes.collect(), edges.collect());
    let name = quoted(&project.name);
    format!("digraph {name} {{\n{indent}layout=dot;\n{nodes}\n{edges}}}\n")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\\\""))
}

fn label(project: &Project, service: &Service, args: &VizArgs, separator: char) -> String {
    let networks = service.networks.keys().cloned();
    let ports = service.ports.iter().map(published);
    let image = image_name(project, service, separator);
    let mut parts: Vec<(&str, Vec<String>)> = Vec::new();
    if args.networks {
        parts.push(("Networks", networks.collect()));
    }
    if args.ports {
        parts.push(("Ports", ports.collect()));
    }
    if args.image {
        parts.push(("Image", vec![image]));
    }
    let name = escaped(&service.name);
    let mut text = format!("<font point-size=\"15\">{name}</font>");
    for (title, lines) in parts.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        let lines: Vec<_> = lines.iter().map(|line| escaped(line)).collect();
        let lines = lines.join("<br/>");
        write!(
            text,
            "<font point-size=\"10\"><br/><br/><b>{title}:</b><br/>{lines}</font>"
        )
        .expect("writing to a string never fails");
    }
    text
}

fn published(port: &Port) -> String {
    let address = match port.host_ip.as_str() {
        "" => String::new(),
        address => format!("{address}:"),
    };
    let (public, private) = (&port.published, port.target);
    let (protocol, mode) = (&port.protocol, &port.mode);
    format!("{address}{public}:{private} ({protocol}, {mode})")
}

/// A text inside of a label, which is read as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
