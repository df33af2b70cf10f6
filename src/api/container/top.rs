//! `GET /containers/ID/top`: what `ps` would print, read from `/proc` here: no program of the host is needed.

use std::fs;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::api::call::Call;
use crate::api::reply::{RouteResult, json_ok};
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::supervise::{Container, Supervisor};

/// The kernel's clock ticks a second, the same on all architectures that we know.
const TICKS: u64 = 100;

/// One process, as `/proc` tells.
#[derive(Debug, Default)]
struct Process {
    pid: i32,
    parent: i32,
    user: u32,
    group: u32,
    name: String,
    state: String,
    command: String,
    terminal: u64,
    ticks: u64,
    start_ticks: u64,
    nice: i64,
    virtual_kib: u64,
    resident_kib: u64,
}

pub(super) fn top(engine: &Arc<Supervisor>, container: &Container, call: &Call) -> RouteResult {
    let columns = columns(call.query.text("ps_args").unwrap_or("-ef"))?;
    let pids = engine.processes(container)?;
    let mut processes: Vec<_> = pids.into_iter().filter_map(read).collect();
    processes.sort_by_key(|process| process.start_ticks);
    let titles: Vec<_> = columns.iter().map(|column| title(column)).collect();
    let rows: Vec<Vec<String>> = processes
        .iter()
        .map(|process| columns.iter().map(|column| cell(process, column)).collect())
        .collect();
    json_ok(&json!({ "Titles": titles, "Processes": rows }))
}

/// The columns that arguments of `ps` choose: `-ef`, `aux`, `-o LIST` and `-eo LIST`.
fn columns(args: &str) -> RuntimeResult<Vec<String>> {
    let owned = |list: &[&str]| {
        list.iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let words: Vec<&str> = args.split_whitespace().collect();
    let mut chosen = Vec::new();
    let mut index = 0;
    while let Some(word) = words.get(index) {
        index += 1;
        let flags = word.strip_prefix('-');
        let list = match flags {
            Some(flags) if flags.ends_with('o') && !flags.starts_with('-') => {
                index += 1;
                words.get(index - 1).copied()
            }
            Some(flags) => flags
                .strip_prefix('o')
                .or_else(|| flags.strip_prefix("-format=")),
            None => None,
        };
        for name in list.into_iter().flat_map(|list| list.split(',')) {
            let name = name.split(['=', ':']).next().unwrap_or(name);
            if title_of(name).is_none() {
                return Err(RuntimeError::invalid(format!(
                    "ps: unknown format specifier `{name}`"
                )));
            }
            chosen.push(name.to_owned());
        }
    }
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let first = words.first().copied().unwrap_or("-ef");
    Ok(if first.contains('u') {
        owned(&[
            "user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "time", "command",
        ])
    } else {
        owned(&["UID", "pid", "ppid", "c", "stime", "tty", "time", "cmd"])
    })
}

fn title_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "UID" | "uid" => "UID",
        "user" | "euser" | "uname" => "USER",
        "group" | "egroup" | "gid" => "GROUP",
        "pid" => "PID",
        "ppid" => "PPID",
        "c" => "C",
        "stime" => "STIME",
        "start" | "start_time" | "lstart" => "START",
        "tty" | "tt" | "tname" => "TTY",
        "time" | "cputime" => "TIME",
        "cmd" => "CMD",
        "args" | "command" => "COMMAND",
        "comm" | "ucmd" => "COMMAND",
        "stat" | "s" | "state" => "STAT",
        "vsz" | "vsize" => "VSZ",
        "rss" | "rssize" => "RSS",
        "ni" | "nice" => "NI",
        "%cpu" | "pcpu" => "%CPU",
        "%mem" | "pmem" => "%MEM",
        "etime" => "ELAPSED",
        _ => return None,
    })
}

fn title(name: &str) -> &'static str {
    title_of(name).unwrap_or("?")
}

fn cell(process: &Process, column: &str) -> String {
    match title(column) {
        "UID" if column == "uid" => process.user.to_string(),
        "UID" | "USER" => user_name(process.user),
        "GROUP" => process.group.to_string(),
        "PID" => process.pid.to_string(),
        "PPID" => process.parent.to_string(),
        "C" => "0".to_owned(),
        "STIME" | "START" => start_text(process.start_ticks),
        "TTY" => terminal_text(process.terminal),
        "TIME" => cpu_text(process.ticks / TICKS),
        "COMMAND" if matches!(column, "comm" | "ucmd") => process.name.clone(),
        "CMD" | "COMMAND" => process.command.clone(),
        "STAT" => process.state.clone(),
        "VSZ" => process.virtual_kib.to_string(),
        "RSS" => process.resident_kib.to_string(),
        "NI" => process.nice.to_string(),
        "ELAPSED" => cpu_text(uptime().saturating_sub(process.start_ticks / TICKS)),
        _ => "0.0".to_owned(),
    }
}

fn read(pid: i32) -> Option<Process> {
    let text = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let stat = text("stat")?;
    let (head, tail) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let status = text("status")?;
    let id = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(0)
    };
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
    let arguments = arguments.trim_end();
    Some(Process {
        pid,
        parent: i32::try_from(number(1)).unwrap_or(0),
        user: id("Uid:"),
        group: id("Gid:"),
        command: if arguments.is_empty() {
            format!("[{name}]")
        } else {
            arguments.to_owned()
        },
        name,
        state: fields
            .first()
            .map(|state| (*state).to_owned())
            .unwrap_or_default(),
        terminal: number(4),
        ticks: number(11) + number(12),
        nice: fields
            .get(16)
            .and_then(|field| field.parse().ok())
            .unwrap_or(0),
        start_ticks: number(19),
        virtual_kib: number(20) / 1024,
        resident_kib: number(21) * 4,
    })
}

fn user_name(id: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse::<u32>().ok()? == id).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| id.to_string())
}

fn terminal_text(device: u64) -> String {
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xfff00),
    );
    match major {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{minor}"),
        _ => format!("tty{minor}"),
    }
}

fn cpu_text(seconds: u64) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn uptime() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split('.').next().and_then(|whole| whole.parse().ok());
    seconds.unwrap_or(0)
}

fn start_text(ticks: u64) -> String {
    let age = uptime().saturating_sub(ticks / TICKS);
    let now = Timestamp::now();
    let started = now.as_second() - i64::try_from(age).unwrap_or(0);
    let Ok(started) = Timestamp::from_second(started) else {
        return "?".to_owned();
    };
    started
        .to_zoned_datetime(TimeZone::system())
        .strftime("%H:%M")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_choose_columns() -> RuntimeResult<()> {
        assert_eq!(columns("-o pid,args")?, ["pid", "args"]);
        assert_eq!(columns("-eo pid,comm")?, ["pid", "comm"]);
        assert_eq!(columns("-ef")?.len(), 8);
        assert_eq!(columns("aux")?.len(), 11);
        assert!(columns("-o bogus").is_err());
        Ok(())
    }
}
