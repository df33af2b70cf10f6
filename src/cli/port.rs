//! `port`: where a port of a service is published.

use bollard_stubs::models::PortSummary;
use clap::Args;

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use hoist::engine::member::{Member, Stopped};

/// Arguments of `port`.
#[derive(Debug, Args)]
pub(super) struct PortArgs {
    /// Choose this replica of the service
    #[arg(long, value_name = "N", default_value = "0")]
    index: u32,
    /// Choose the protocol: tcp or udp
    #[arg(long, default_value = "tcp")]
    protocol: String,
    /// Service
    service: String,
    /// Port in the container
    #[arg(value_name = "PRIVATE_PORT")]
    port: u16,
}

/// Prints the address.
pub(super) async fn cmd_port(ui: &Ui, context: &Context, args: &PortArgs) -> CommandResult {
    let (_, container) = context
        .container(ui, (&args.service, args.index), Stopped::Exclude)
        .await?;
    let protocol = args.protocol.to_lowercase();
    let port = container
        .ports()
        .iter()
        .find(|port| port.private_port == args.port && protocol_of(port) == protocol)
        .ok_or_else(|| CommandError::user(missing(&container, args.port, &protocol)))?;
    let address = match (port.ip.as_deref(), port.public_port) {
        (Some(ip), Some(public)) if ip.contains(':') => format!("[{ip}]:{public}"),
        (Some(ip), Some(public)) => format!("{ip}:{public}"),
        // Exposed, not published: docker compose prints this too, and scripts look for it.
        _ => "invalid IP:0".to_owned(),
    };
    ui.print(format_args!("{address}\n"))?;
    Ok(ExitStatus::SUCCESS)
}

fn protocol_of(port: &PortSummary) -> String {
    port.typ.map(|typ| typ.to_string()).unwrap_or_default()
}

fn missing(container: &Member, port: u16, protocol: &str) -> String {
    let mut ports: Vec<_> = container.ports().iter().collect();
    ports.sort_by_key(|port| port.private_port);
    let known: Vec<_> = ports
        .iter()
        .map(|port| format!("{}/{}", port.private_port, protocol_of(port)))
        .collect();
    format!(
        "no port {port}/{protocol} for container {}: {}",
        container.name(),
        known.join(", ")
    )
}
