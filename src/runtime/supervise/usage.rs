//! What a container uses: processes and figures of its cgroup and its network.

use std::collections::BTreeMap;
use std::fs;

use tokio::task::block_in_place;

use super::Supervisor;
use super::container::Container;
use super::counted;
use super::process::HeldProcess;
use super::status::Operation;
use crate::runtime::container::cgroup::Stats;
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// Figures of a network interface, as the kernel names them.
pub type InterfaceFigures = BTreeMap<&'static str, u64>;

const INTERFACE_FIGURES: [(&str, usize); 8] = [
    ("rx_bytes", 0),
    ("rx_packets", 1),
    ("rx_errors", 2),
    ("rx_dropped", 3),
    ("tx_bytes", 8),
    ("tx_packets", 9),
    ("tx_errors", 10),
    ("tx_dropped", 11),
];

/// One reading.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// The cgroup's figures.
    pub cgroup: Stats,
    /// The interfaces' figures by name.
    pub interfaces: BTreeMap<String, InterfaceFigures>,
    /// CPU time of the whole machine, nanoseconds.
    pub machine_cpu: u64,
}

impl Supervisor {
    /// A reading of a container that runs; `None` for one that does not.
    #[must_use]
    pub fn usage(&self, container: &Container) -> Option<Usage> {
        if !container.status().is_alive() {
            return None;
        }
        block_in_place(|| {
            let group = self.cgroup(container).ok()?;
            let first = HeldProcess::of(container).ok();
            let cgroup = match &first {
                Some(first) if !group.counts_memory() => counted::stats(first),
                _ => group.stats(),
            };
            let net = first.map(|first| first.read("net/dev"));
            Some(Usage {
                cgroup,
                interfaces: interfaces(&net.unwrap_or_default()),
                machine_cpu: machine_cpu(),
            })
        })
    }

    /// The processes of a running container, as the host numbers them.
    ///
    /// # Errors
    /// When it does not run.
    pub fn processes(&self, container: &Container) -> RuntimeResult<Vec<i32>> {
        container.allows(Operation::Look)?;
        let cgroup = block_in_place(|| self.cgroup(container));
        let cgroup = cgroup.map_err(|source| {
            RuntimeError::internal(
                format!("cannot list the processes of container {}", container.id()),
                source,
            )
        })?;
        if cgroup.is_usable() {
            return Ok(cgroup.pids());
        }
        let first = HeldProcess::of(container);
        Ok(first
            .map(|first| counted::processes(&first))
            .unwrap_or_default())
    }
}

fn interfaces(text: &str) -> BTreeMap<String, InterfaceFigures> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let named = lines.map(|(name, figures)| (name.trim().to_owned(), figures));
    named
        .filter(|(name, _)| name != "lo")
        .map(|(name, figures)| (name, interface_figures(figures)))
        .collect()
}

fn interface_figures(text: &str) -> InterfaceFigures {
    let numbers: Vec<u64> = text
        .split_whitespace()
        .map(|word| word.parse().unwrap_or(0))
        .collect();
    INTERFACE_FIGURES
        .iter()
        .map(|(name, index)| (*name, numbers.get(*index).copied().unwrap_or(0)))
        .collect()
}

fn machine_cpu() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: u64 = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    ticks * 10_000_000
}
