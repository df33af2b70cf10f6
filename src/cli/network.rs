//! `network`: a look at networks, at the rules of the built-in engine, and at what the outside can reach.

use std::net::IpAddr;
use std::path::Path;

use bollard_stubs::models::{ContainerSummary, Network, PortSummary};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::{MinimumWidth, Table, lines};
use crate::ui::unit::short_id;
use hoist::engine::connect::Choice;
use hoist::engine::{ContainerFilter, label};
use hoist::runtime::launch;
use hoist::runtime::layout::Layout;

/// Arguments of `network`.
#[derive(Debug, Args)]
pub(super) struct NetworkArgs {
    #[command(subcommand)]
    action: NetworkAction,
}

#[derive(Debug, Subcommand)]
enum NetworkAction {
    /// List networks
    Ls {
        /// Show only ids
        #[arg(short, long)]
        quiet: bool,
        /// Choose the format: table or json
        #[arg(long, default_value = "table")]
        format: String,
    },
    /// Show everything about networks as JSON
    Inspect {
        /// Names or ids
        #[arg(required = true)]
        networks: Vec<String>,
    },
    /// Show what the outside can reach: published ports, their containers, and from where
    Ports,
    /// Show the firewall rules of the built-in engine in the syntax of nft
    Rules,
}

/// Looks at networks.
pub(super) async fn cmd_network(ui: &Ui, context: &Context, args: &NetworkArgs) -> CommandResult {
    match &args.action {
        NetworkAction::Ls { quiet, format } => list(ui, context, *quiet, format).await,
        NetworkAction::Inspect { networks } => inspect(ui, context, networks).await,
        NetworkAction::Ports => ports(ui, context).await,
        NetworkAction::Rules => rules(ui, context),
    }
}

async fn list(ui: &Ui, context: &Context, quiet: bool, format: &str) -> CommandResult {
    let mut networks = context.engine().await?.list_networks(&[]).await?;
    networks.sort_by(|left, right| left.name.cmp(&right.name));
    let text = match format {
        _ if quiet => lines(networks.iter().map(|it| short_id(text_of(it.id.as_ref())))),
        "table" => table(&networks),
        "json" => lines(networks.iter().map(row)),
        other => {
            return Err(CommandError::user(format!(
                "unknown format `{other}`: use table or json"
            )));
        }
    };
    ui.print(text)?;
    Ok(ExitStatus::SUCCESS)
}

fn text_of(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

fn table(networks: &[Network]) -> String {
    let mut table = Table::new(
        MinimumWidth::Ten,
        ["NETWORK ID", "NAME", "DRIVER", "SCOPE", "PROJECT"],
    );
    for network in networks {
        table.row([
            short_id(text_of(network.id.as_ref())),
            text_of(network.name.as_ref()),
            text_of(network.driver.as_ref()),
            text_of(network.scope.as_ref()),
            project_of(network),
        ]);
    }
    table.to_string()
}

fn project_of(network: &Network) -> &str {
    let labels = network.labels.as_ref();
    text_of(labels.and_then(|labels| labels.get(label::PROJECT)))
}

fn row(network: &Network) -> String {
    json!({
        "ID": network.id,
        "Name": network.name,
        "Driver": network.driver,
        "Scope": network.scope,
        "Internal": network.internal,
        "Project": project_of(network),
    })
    .to_string()
}

async fn inspect(ui: &Ui, context: &Context, names: &[String]) -> CommandResult {
    let engine = context.engine().await?;
    let mut found = Vec::new();
    for name in names {
        found.push(engine.inspect_network(name).await?);
    }
    let text = serde_json::to_string_pretty(&found).map_err(CommandError::system)?;
    ui.print(format_args!("{text}\n"))?;
    Ok(ExitStatus::SUCCESS)
}

async fn ports(ui: &Ui, context: &Context) -> CommandResult {
    let engine = context.engine().await?;
    let containers = engine.list_containers(&ContainerFilter::default()).await?;
    ui.print(published(&containers))?;
    Ok(ExitStatus::SUCCESS)
}

/// A row for each address that something listens on for a container, in the order of the ports.
fn published(containers: &[ContainerSummary]) -> String {
    let mut rows: Vec<_> = containers
        .iter()
        .flat_map(|container| {
            let ports = container.ports.as_deref().unwrap_or_default();
            ports.iter().filter_map(|port| reach(container, port))
        })
        .collect();
    rows.sort();
    rows.dedup();
    let mut table = Table::new(
        MinimumWidth::Ten,
        ["PUBLISHED", "REACHED FROM", "CONTAINER", "PORT", "PROJECT"],
    );
    for (_, cells) in &rows {
        table.row(cells.each_ref().map(String::as_str));
    }
    table.to_string()
}

type Reach = ((u16, String), [String; 5]);

fn reach(container: &ContainerSummary, port: &PortSummary) -> Option<Reach> {
    let public = port.public_port?;
    let protocol = port
        .typ
        .map_or_else(|| "tcp".to_owned(), |typ| typ.to_string());
    let address = port.ip.as_deref().unwrap_or("0.0.0.0");
    let at = match address.parse() {
        Ok(IpAddr::V6(_)) => format!("[{address}]:{public}/{protocol}"),
        _ => format!("{address}:{public}/{protocol}"),
    };
    let names = container.names.as_deref().unwrap_or_default();
    let name = names
        .first()
        .map_or("", |name| name.trim_start_matches('/'));
    let labels = container.labels.as_ref();
    let project = text_of(labels.and_then(|labels| labels.get(label::PROJECT)));
    let cells = [
        at.clone(),
        sources(address).to_owned(),
        name.to_owned(),
        format!("{}/{protocol}", port.private_port),
        project.to_owned(),
    ];
    Some(((public, at), cells))
}

fn sources(address: &str) -> &'static str {
    match address.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => "everywhere",
        Ok(ip) if ip.is_loopback() => "this machine",
        _ => "who reaches this address",
    }
}

/// By name, or by its socket's address as `hoist engine socket` gives it to docker's command line.
fn is_built_in(choice: &Choice, layout: &Layout) -> bool {
    match choice {
        Choice::BuiltIn => true,
        Choice::Address(endpoint) => endpoint
            .address
            .strip_prefix("unix://")
            .is_some_and(|socket| Path::new(socket) == layout.engine_socket()),
    }
}

fn rules(ui: &Ui, context: &Context) -> CommandResult {
    let layout = Layout::of_process();
    if !is_built_in(&context.engine_choice()?, &layout) {
        return Err(CommandError::user(
            "only the built-in engine tells its rules: Docker's are listed by `nft list ruleset` or `iptables-save`",
        ));
    }
    let answer = launch::ask(&layout, "/hoist/network/rules")?;
    match answer {
        Some(answer) => {
            let rules: Vec<String> = serde_json::from_str(&answer).map_err(CommandError::system)?;
            ui.print(lines(rules))?;
        }
        None => ui.warn("the built-in engine does not run, so it has no rules"),
    }
    Ok(ExitStatus::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_engine_is_known_by_its_socket() {
        let layout = Layout::at(Path::new("/var/lib/h"), Path::new("/run/h"));
        let at = |address: &str| Choice::Address(address.to_owned().into());
        assert!(is_built_in(&Choice::BuiltIn, &layout));
        assert!(is_built_in(&at("unix:///run/h/engine.sock"), &layout));
        assert!(!is_built_in(&at("unix:///var/run/docker.sock"), &layout));
        assert!(!is_built_in(&at("tcp:///run/h/engine.sock"), &layout));
    }

    fn container(name: &str, ip: &str, public: Option<u16>) -> ContainerSummary {
        ContainerSummary {
            names: Some(vec![format!("/{name}")]),
            ports: Some(vec![PortSummary {
                ip: Some(ip.to_owned()),
                private_port: 80,
                public_port: public,
                typ: None,
            }]),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn ports_are_told_with_who_reaches_them() {
        let shown = published(&[
            container("b-web-1", "0.0.0.0", Some(8081)),
            container("a-web-1", "127.0.0.1", Some(8080)),
            container("c-web-1", "fd00::1", Some(9000)),
            container("quiet-1", "0.0.0.0", None),
        ]);
        let rows: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|it| !it.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(
            rows[1..],
            [
                vec!["127.0.0.1:8080/tcp", "this machine", "a-web-1", "80/tcp"],
                vec!["0.0.0.0:8081/tcp", "everywhere", "b-web-1", "80/tcp"],
                vec![
                    "[fd00::1]:9000/tcp",
                    "who reaches this address",
                    "c-web-1",
                    "80/tcp"
                ],
            ]
        );
    }
}
