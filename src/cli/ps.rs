//! `ps`: lists the containers of a project.

use std::collections::BTreeMap;

use clap::{ArgAction, Args};
use serde_json::{Value, json};

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::{MinimumWidth, Table, lines};
use crate::ui::template::Template;
use crate::ui::unit::{local_time, rough_duration, short_id, shorten};
use hoist::engine::member::{Member, OneOffs, Stopped, members};

/// Arguments of `ps`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct PsArgs {
    /// Show stopped containers and those of `run` too
    #[arg(short, long)]
    all: bool,
    /// Show only containers in a state: status=STATE
    #[arg(long, value_name = "status=STATE")]
    filter: Option<String>,
    /// Choose the format: table, json or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Show everything in full length
    #[arg(long)]
    no_trunc: bool,
    /// Include containers of services that are not in the files
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true")]
    orphans: bool,
    /// Show only ids
    #[arg(short, long)]
    quiet: bool,
    /// Show only names of services
    #[arg(long)]
    services: bool,
    /// Show only containers in a state
    #[arg(long, value_name = "STATE")]
    status: Vec<String>,
    /// Services to list
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
}

/// How much of a text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Full,
    Short,
}

/// Lists containers.
pub(super) async fn cmd_ps(ui: &Ui, context: &Context, args: &PsArgs) -> CommandResult {
    let states = wanted_states(args)?;
    let target = context.target(ui).await?;
    let engine = context.engine().await?;
    let (one_offs, stopped) = if args.all || !states.is_empty() {
        (OneOffs::Include, Stopped::Include)
    } else {
        (OneOffs::Exclude, Stopped::Exclude)
    };
    let found = members(engine.as_ref(), &target.name, one_offs, stopped).await?;
    target.check_services(&args.names)?;
    let in_model = |member: &Member| match (&target.project, args.orphans) {
        (Some(project), false) => project.services.contains_key(member.service()),
        _ => true,
    };
    let shown: Vec<_> = found
        .into_iter()
        .filter(|member| {
            args.names.is_empty() || args.names.iter().any(|name| name == member.service())
        })
        .filter(|member| states.is_empty() || states.contains(&member.state()))
        .filter(in_model)
        .collect();
    ui.print(render(context, args, &shown)?)?;
    Ok(ExitStatus::SUCCESS)
}

fn wanted_states(args: &PsArgs) -> Result<Vec<String>, CommandError> {
    let mut states = args.status.clone();
    if let Some(filter) = &args.filter {
        match filter.split_once('=') {
            Some(("status", state)) => states.push(state.to_owned()),
            Some(("source", _)) => {
                return Err(CommandError::user("source filter is not implemented"));
            }
            Some((key, _)) => return Err(CommandError::user(format!("unknown filter {key}"))),
            None => {
                return Err(CommandError::user(
                    "arguments to --filter should be in form KEY=VAL",
                ));
            }
        }
    }
    Ok(states)
}

fn render(context: &Context, args: &PsArgs, members: &[Member]) -> Result<String, CommandError> {
    if args.quiet {
        return Ok(lines(members.iter().map(Member::id)));
    }
    if args.services {
        let mut names: Vec<_> = members.iter().map(Member::service).collect();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(*name));
        return Ok(lines(names));
    }
    let length = if args.no_trunc {
        Length::Full
    } else {
        Length::Short
    };
    let format = args
        .format
        .clone()
        .filter(|format| !format.is_empty())
        .or_else(|| context.docker_config("psFormat"));
    match format.as_deref() {
        None | Some("table") => Ok(table(members, length)),
        Some("json") => Ok(lines(
            members.iter().map(|member| row(member, length).to_string()),
        )),
        Some(template) => by_template(template, members, length),
    }
}

fn table(members: &[Member], length: Length) -> String {
    let remote = members
        .iter()
        .any(|member| !member.label(ENGINE_LABEL).is_empty());
    let mut titles = vec![
        "NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS",
    ];
    if remote {
        titles.push("ENGINE");
    }
    let mut table = Table::new(MinimumWidth::Ten, titles);
    for member in members {
        let mut cells = vec![
            member.name().to_owned(),
            image(member, length),
            command(member, length),
            member.service().to_owned(),
            created(member),
            member.status().to_owned(),
            ports(member),
        ];
        if remote {
            cells.push(member.label(ENGINE_LABEL).to_owned());
        }
        table.row(cells);
    }
    table.to_string()
}

fn by_template(text: &str, members: &[Member], length: Length) -> Result<String, CommandError> {
    let rows = members.iter().map(|member| {
        let labels: BTreeMap<_, _> = member.summary.labels.iter().flatten().collect();
        (row(member, length), json!(labels))
    });
    let template = Template::parse(text).map_err(CommandError::user)?;
    template.render_all(rows).map_err(CommandError::user)
}

const ENGINE_LABEL: &str = "com.docker.compose.engine";

/// A container as the object that `--format json` prints (behaviours.md B259).
fn row(member: &Member, length: Length) -> Value {
    let mounts = member.summary.mounts.as_deref().unwrap_or_default();
    let local = mounts
        .iter()
        .filter(|mount| mount.driver.as_deref() == Some("local"));
    json!({
        "Command": command(member, length),
        "CreatedAt": local_time(member.summary.created.unwrap_or_default()),
        "Engine": member.label(ENGINE_LABEL),
        "ExitCode": member.exit_code().unwrap_or_default(),
        "Health": member.health(),
        "ID": match length {
            Length::Full => member.id(),
            Length::Short => short_id(member.id()),
        },
        "Image": image(member, length),
        "Labels": labels(member),
        "LocalVolumes": local.count().to_string(),
        "Mounts": mount_names(member, length),
        "Name": member.name(),
        "Names": member.name(),
        "Networks": networks(member),
        "Ports": ports(member),
        "Project": member.project(),
        "Publishers": publishers(member),
        "RunningFor": created(member),
        "Service": member.service(),
        "Size": "0B",
        "State": member.state(),
        "Status": member.status(),
    })
}

fn image(member: &Member, length: Length) -> String {
    let image = member.summary.image.clone().unwrap_or_default();
    match length {
        Length::Short if image.starts_with("sha256:") => short_id(&image).to_owned(),
        Length::Short | Length::Full => image,
    }
}

fn command(member: &Member, length: Length) -> String {
    let command = member.summary.command.as_deref().unwrap_or_default();
    let command = match length {
        Length::Short => shorten(command, 20),
        Length::Full => command.to_owned(),
    };
    format!("{command:?}").replace("\\'", "'")
}

fn created(member: &Member) -> String {
    let created = member.summary.created.unwrap_or_default();
    let now = jiff::Timestamp::now().as_second();
    format!("{} ago", rough_duration(now - created))
}

fn labels(member: &Member) -> String {
    let labels: BTreeMap<_, _> = member.summary.labels.iter().flatten().collect();
    let pairs: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

fn mount_names(member: &Member, length: Length) -> String {
    let mounts = member.summary.mounts.as_deref().unwrap_or_default();
    let names: Vec<_> = mounts
        .iter()
        .map(|mount| {
            let name = mount.name.as_deref().filter(|name| !name.is_empty());
            let name = name.or(mount.source.as_deref()).unwrap_or_default();
            match length {
                Length::Short => shorten(name, 15),
                Length::Full => name.to_owned(),
            }
        })
        .collect();
    names.join(",")
}

fn networks(member: &Member) -> String {
    let settings = member.summary.network_settings.as_ref();
    let mut names: Vec<_> = settings
        .and_then(|settings| settings.networks.as_ref())
        .map(|networks| networks.keys().map(String::as_str).collect())
        .unwrap_or_default();
    names.sort_unstable();
    names.join(",")
}

fn protocol(port: &bollard_stubs::models::PortSummary) -> String {
    port.typ.map(|typ| typ.to_string()).unwrap_or_default()
}

fn publishers(member: &Member) -> Vec<Value> {
    let mut ports: Vec<_> = member.ports().iter().collect();
    ports.sort_by_key(|port| {
        (
            port.private_port,
            port.public_port,
            protocol(port),
            port.ip.clone(),
        )
    });
    ports
        .into_iter()
        .map(|port| {
            json!({
                "URL": port.ip.as_deref().unwrap_or_default(),
                "TargetPort": port.private_port,
                "PublishedPort": port.public_port.unwrap_or_default(),
                "Protocol": protocol(port),
            })
        })
        .collect()
}

/// A run of ports that follow each other on one address.
struct PortRange {
    address: Option<String>,
    protocol: String,
    first: u16,
    last: u16,
}

impl PortRange {
    fn text(&self) -> String {
        let ports = if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}-{}", self.first, self.last)
        };
        match &self.address {
            Some(address) => format!("{address}:{ports}->{ports}/{}", self.protocol),
            None => format!("{ports}/{}", self.protocol),
        }
    }
}

/// Ports as docker shows them: unpublished and equal ones as ranges, then those published elsewhere.
fn ports(member: &Member) -> String {
    let mut ports: Vec<_> = member.ports().iter().collect();
    ports.sort_by_key(|port| {
        (
            port.private_port,
            port.ip.clone(),
            port.public_port,
            protocol(port),
        )
    });
    let mut ranges: Vec<PortRange> = Vec::new();
    let mut mapped = Vec::new();
    for port in ports {
        let address = port.ip.as_deref().filter(|ip| !ip.is_empty()).map(|ip| {
            if ip.contains(':') {
                format!("[{ip}]")
            } else {
                ip.to_owned()
            }
        });
        let (private, protocol) = (port.private_port, protocol(port));
        match (&address, port.public_port) {
            (Some(address), Some(public)) if public != private => {
                mapped.push(format!("{address}:{public}->{private}/{protocol}"));
            }
            _ => extend(&mut ranges, address, protocol, private),
        }
    }
    let mut texts: Vec<_> = ranges.iter().map(PortRange::text).collect();
    texts.append(&mut mapped);
    texts.join(", ")
}

fn extend(ranges: &mut Vec<PortRange>, address: Option<String>, protocol: String, port: u16) {
    let last = ranges
        .iter_mut()
        .rfind(|range| range.address == address && range.protocol == protocol);
    match last {
        Some(range) if range.last.checked_add(1) == Some(port) => range.last = port,
        _ => ranges.push(PortRange {
            address,
            protocol,
            first: port,
            last: port,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Member, ports};
    use bollard_stubs::models::{ContainerSummary, PortSummary, PortSummaryTypeEnum};

    fn port(ip: Option<&str>, private: u16, public: Option<u16>) -> PortSummary {
        PortSummary {
            ip: ip.map(str::to_owned),
            private_port: private,
            public_port: public,
            typ: Some(PortSummaryTypeEnum::TCP),
        }
    }

    #[test]
    fn ports_that_follow_each_other_are_a_range() {
        let member = Member {
            summary: ContainerSummary {
                ports: Some(vec![
                    port(None, 9001, None),
                    port(Some("::"), 80, Some(8080)),
                    port(None, 9000, None),
                    port(Some("0.0.0.0"), 443, Some(443)),
                    port(Some("0.0.0.0"), 444, Some(444)),
                ]),
                ..ContainerSummary::default()
            },
        };
        assert_eq!(
            ports(&member),
            "0.0.0.0:443-444->443-444/tcp, 9000-9001/tcp, [::]:8080->80/tcp"
        );
    }
}
