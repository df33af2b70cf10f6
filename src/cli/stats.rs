//! `stats`: what a project's containers use.

use bollard_stubs::models::ContainerStatsResponse;
use clap::Args;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::table::{MinimumWidth, Table, lines};
use crate::ui::template::Template;
use crate::ui::unit::{binary_size, decimal_size, short_id};
use hoist::engine::Engine;
use hoist::engine::member::{Member, OneOffs, Stopped, members};

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Show stopped containers too
    #[arg(short, long)]
    all: bool,
    /// Choose the format: table, json or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Show one reading and return
    #[arg(long)]
    no_stream: bool,
    /// Show ids in full length
    #[arg(long)]
    no_trunc: bool,
    /// Service
    service: Option<String>,
}

/// Shows the usage, again and again unless told otherwise.
pub(super) async fn cmd_stats(ui: &Ui, context: &Context, args: &StatsArgs) -> CommandResult {
    let project = context.project_name(ui).await?;
    let engine = context.engine().await?;
    let stopped = if args.all {
        Stopped::Include
    } else {
        Stopped::Exclude
    };
    loop {
        let mut found = members(engine.as_ref(), &project, OneOffs::Include, stopped).await?;
        found.retain(|member| {
            args.service
                .as_ref()
                .is_none_or(|service| service == member.service())
        });
        // An engine takes a second for a reading, because a share of the processor needs two: that is the pace.
        let readings = join_all(found.iter().map(|member| read(engine.as_ref(), member))).await;
        let rows: Vec<_> = found
            .iter()
            .zip(&readings)
            .map(|(member, reading)| row(member, reading, args))
            .collect();
        let text = render(args, &rows)?;
        if args.no_stream {
            ui.print(text)?;
            return Ok(ExitStatus::SUCCESS);
        }
        if ui.stdout_is_terminal() {
            ui.print("\x1b[H\x1b[J")?;
        }
        ui.print(text)?;
        if rows.is_empty() {
            return Ok(ExitStatus::SUCCESS);
        }
    }
}

/// A container that stopped meanwhile uses nothing.
async fn read(engine: &dyn Engine, member: &Member) -> ContainerStatsResponse {
    engine
        .stats_container(member.id())
        .await
        .unwrap_or_default()
}

fn render(args: &StatsArgs, rows: &[Value]) -> Result<String, CommandError> {
    match args.format.as_deref() {
        None | Some("table" | "") => Ok(table(rows)),
        Some("json") => Ok(lines(rows.iter().map(Value::to_string))),
        Some(text) => {
            let template = Template::parse(text).map_err(CommandError::user)?;
            let rows = rows.iter().map(|row| (row.clone(), Value::Null));
            template.render_all(rows).map_err(CommandError::user)
        }
    }
}

fn table(rows: &[Value]) -> String {
    let columns = [
        ("CONTAINER ID", "ID"),
        ("NAME", "Name"),
        ("CPU %", "CPUPerc"),
        ("MEM USAGE / LIMIT", "MemUsage"),
        ("MEM %", "MemPerc"),
        ("NET I/O", "NetIO"),
        ("BLOCK I/O", "BlockIO"),
        ("PIDS", "PIDs"),
    ];
    let mut table = Table::new(MinimumWidth::Ten, columns.map(|(title, _)| title));
    for row in rows {
        table.row(columns.map(|(_, key)| row[key].as_str().unwrap_or_default()));
    }
    table.to_string()
}

fn row(member: &Member, reading: &ContainerStatsResponse, args: &StatsArgs) -> Value {
    let (used, limit) = memory(reading);
    let id = if args.no_trunc {
        member.id()
    } else {
        short_id(member.id())
    };
    json!({
        "BlockIO": block_io(reading),
        "CPUPerc": format!("{:.2}%", processor_share(reading)),
        "Container": member.id(),
        "ID": id,
        "MemPerc": format!("{:.2}%", share(used, limit)),
        "MemUsage": format!("{} / {}", binary_size(used), binary_size(limit)),
        "Name": member.name(),
        "NetIO": network_io(reading),
        "PIDs": reading
            .pids_stats
            .as_ref()
            .and_then(|pids| pids.current)
            .unwrap_or_default()
            .to_string(),
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "two digits after the point are shown"
)]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64 * 100.0
}

/// The share of one processor since the reading before, so 200 % are two whole processors.
#[expect(
    clippy::cast_precision_loss,
    reason = "two digits after the point are shown"
)]
fn processor_share(reading: &ContainerStatsResponse) -> f64 {
    let (Some(now), Some(before)) = (&reading.cpu_stats, &reading.precpu_stats) else {
        return 0.0;
    };
    let total = |stats: &bollard_stubs::models::ContainerCpuStats| {
        let usage = stats.cpu_usage.as_ref();
        usage
            .and_then(|usage| usage.total_usage)
            .unwrap_or_default()
    };
    let used = total(now).saturating_sub(total(before));
    let system = now
        .system_cpu_usage
        .unwrap_or_default()
        .saturating_sub(before.system_cpu_usage.unwrap_or_default());
    let processors = f64::from(now.online_cpus.unwrap_or(1).max(1));
    if system == 0 {
        return 0.0;
    }
    used as f64 / system as f64 * processors * 100.0
}

/// Memory in use without the page cache that the kernel would give back, and the limit.
fn memory(reading: &ContainerStatsResponse) -> (u64, u64) {
    let Some(memory) = &reading.memory_stats else {
        return (0, 0);
    };
    let usage = memory.usage.unwrap_or_default();
    let stats = memory.stats.as_ref();
    let cache = ["total_inactive_file", "inactive_file"]
        .iter()
        .find_map(|key| stats?.get(*key).copied())
        .unwrap_or_default();
    let used = if cache < usage { usage - cache } else { usage };
    (used, memory.limit.unwrap_or_default())
}

fn network_io(reading: &ContainerStatsResponse) -> String {
    let networks = reading
        .networks
        .iter()
        .flat_map(|networks| networks.values());
    let (received, sent) = networks.fold((0, 0), |(received, sent), network| {
        (
            received + network.rx_bytes.unwrap_or_default(),
            sent + network.tx_bytes.unwrap_or_default(),
        )
    });
    format!("{} / {}", decimal_size(received), decimal_size(sent))
}

fn block_io(reading: &ContainerStatsResponse) -> String {
    let entries = reading
        .blkio_stats
        .iter()
        .flat_map(|stats| stats.io_service_bytes_recursive.iter().flatten());
    let (mut read, mut written) = (0, 0);
    for entry in entries {
        let value = entry.value.unwrap_or_default();
        match entry.op.as_deref().map(str::to_lowercase).as_deref() {
            Some("read") => read += value,
            Some("write") => written += value,
            _ => {}
        }
    }
    format!("{} / {}", decimal_size(read), decimal_size(written))
}
