//! Which process of the host holds a port: for messages only.

use std::fs;

use super::record::Protocol;

/// `name (process 123)`, where `/proc` lets us see it.
#[must_use]
pub fn port_owner(protocol: Protocol, port: u16) -> Option<String> {
    let inode = ["", "6"].iter().find_map(|version| {
        let table = fs::read_to_string(format!(
            "/proc/thread-self/net/{}{version}",
            protocol.name()
        ))
        .ok()?;
        inode_in(&table, protocol, port)
    })?;
    let wanted = format!("socket:[{inode}]");
    let process = fs::read_dir("/proc")
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| {
            let is_process = entry
                .file_name()
                .to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit());
            is_process && has_descriptor(&entry.path(), &wanted)
        })?;
    let name = fs::read_to_string(process.path().join("comm")).ok()?;
    Some(format!(
        "{} (process {})",
        name.trim(),
        process.file_name().to_string_lossy()
    ))
}

/// Finds the socket of a port in a table of `/proc/net`: the one that listens, or any for UDP.
fn inode_in(table: &str, protocol: Protocol, port: u16) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let listens = protocol != Protocol::Tcp || *fields.get(3)? == "0A";
        let same = u16::from_str_radix(local, 16) == Ok(port);
        (same && listens).then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

fn has_descriptor(process: &std::path::Path, wanted: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors
        .filter_map(Result::ok)
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_listening_socket() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 00000000:1F90 0100007F:1F91 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n   \
                     1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n";
        assert_eq!(inode_in(table, Protocol::Tcp, 8080).as_deref(), Some("222"));
        assert_eq!(inode_in(table, Protocol::Tcp, 8081), None);
    }
}
